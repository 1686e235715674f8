"""Wishes: recorded before they are acted on, void with a word, never lost."""

from datetime import timedelta

import pytest
from tests.unit.situations import (
    absent,
    ago,
    container,
    ended,
    intent,
    running,
    situation,
    starting,
    status,
    wish,
    with_intent,
)
from tests.unit.test_planner import kind, told

from opeva_operator.planner import plan
from opeva_operator.situation import DropWish
from opeva_specs.status import JobStatus

WISHES = [
    pytest.param(status(), "stop", "Queued Accepted", "", id="stop, queued"),
    pytest.param(starting(), "stop", "Stopping StoppedByUser", "", id="stop, starting"),
    pytest.param(running(), "stop", "Stopping StoppedByUser", "", id="stop, running"),
    pytest.param(ended(), "stop", "Finished Completed", "had ended already", id="stop, ended: void"),
    pytest.param(running(), "rerun", "Running Running", "", id="rerun, running"),
    pytest.param(ended(), "rerun", "Finished Completed", "", id="rerun, ended"),
    pytest.param(ended(), "delete", "Finished Completed", "", id="delete, ended"),
    pytest.param(running(), "delete", "Stopping StoppedByUser", "", id="delete, running: ended first"),
    pytest.param(running(), "dance", "Running Running", "no wish 'dance'", id="unknown wish: void"),
    pytest.param(running(imported=True), "stop", "Running Running", "use docker", id="stop, imported: void"),
    pytest.param(running(last_wish="w1"), "stop", "Running Running", "", id="recorded before: only dropped"),
]


@pytest.mark.parametrize(("before", "what", "words", "void"), WISHES)
def test_a_wish_is_recorded_before_it_is_acted_on(before: JobStatus, what: str, words: str, void: str) -> None:
    planned = plan(situation(before, container(), wish=wish(what)))
    assert isinstance(planned.action, DropWish)
    assert told(planned) == words
    assert void in planned.action.told
    assert bool(planned.action.told) == bool(void)
    assert planned.status is not None
    assert (planned.status.status.last_wish == "w1") == (not void)


def test_a_wish_for_another_digest_is_dropped_with_a_word() -> None:
    planned = plan(situation(running(), container(), wish=wish("stop", digest="d0")))
    assert planned.action == DropWish(wish("stop", digest="d0"), "the wish to stop was for another version of the job")
    assert planned.status is not None and planned.status.status.intent is None


def test_a_rerun_without_a_file_is_void() -> None:
    planned = plan(situation(ended(), None, absent(1), wish=wish("rerun")))
    assert isinstance(planned.action, DropWish) and "no file" in planned.action.told


@pytest.mark.parametrize(
    ("age", "action"), [(0, None), (59, None), (60, DropWish), (600, DropWish)], ids=lambda value: str(value)
)
def test_a_wish_for_an_unknown_name_waits_a_minute(age: int, action: type | None) -> None:
    planned = plan(situation(wanted=absent(1), wish=wish("stop", at=ago(age))))
    assert kind(planned) == action
    assert planned.recheck_after == (None if action else timedelta(seconds=60 - age))


def test_a_wish_to_delete_outlives_a_later_wish_to_stop() -> None:
    before = with_intent(running(), intent(signaled=3, then_delete=True))
    planned = plan(situation(before, container(), wish=wish("stop")))
    assert planned.status is not None and planned.status.status.intent is not None
    assert planned.status.status.intent.then_delete
    assert planned.status.status.intent.signaled_at == ago(3)
