"""What is done next, situation by situation."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.situations import (
    NOW,
    absent,
    ago,
    attempt,
    container,
    ended,
    intent,
    present,
    running,
    situation,
    starting,
    status,
    with_intent,
)

from opeva_operator.planner import plan
from opeva_operator.situation import (
    Accept,
    Adopt,
    Amend,
    Conclude,
    Delete,
    Gate,
    Launch,
    Plan,
    Remove,
    Restore,
    Signal,
    Situation,
    Start,
    Unreachable,
)
from opeva_specs.specfiles import Unsure
from opeva_specs.status import Generation, JobStatus, Phase, Reason, changed, condition_of
from opeva_specs.terms import Blocker

AWAY = Unreachable("no answer")
UNSURE = Unsure(message="specs/ cannot be listed")
OPEN = Gate(is_open=True)
SHUT = Gate(is_open=False)
CLOSED = Gate(is_open=False, blockers=(Blocker(kind=Reason.AT_CAPACITY, message="full"),))
EXITED = container("exited", exit_code=7)


def told(planned: Plan) -> str:
    """Phase and reason, or `-` without a status."""
    return f"{planned.status.status.phase} {planned.status.status.reason}" if planned.status else "-"


def kind(planned: Plan) -> type | None:
    """The kind of the action."""
    return type(planned.action) if planned.action else None


CASES = [
    # a name without a status
    pytest.param(situation(), Accept, "-", id="a new file: accepted"),
    pytest.param(situation(found=AWAY), Accept, "-", id="a new file, engine away: accepted"),
    pytest.param(situation(wanted=absent(1)), None, "-", id="no file, no status: nothing"),
    pytest.param(situation(found=container(), wanted=absent(1)), Adopt, "-", id="our container, no status: adopted"),
    pytest.param(situation(found=container(is_ours=False)), Accept, "-", id="a stranger's container: accepted"),
    pytest.param(
        situation(found=container(is_ours=False), wanted=absent(1)), None, "-", id="a stranger's, no file: left alone"
    ),
    # waiting
    pytest.param(situation(status()), None, "Queued Accepted", id="queued: the gate is asked"),
    pytest.param(situation(status(), gate=OPEN), Launch, "Starting Starting", id="queued, gate open: launched"),
    pytest.param(
        situation(status(), gate=CLOSED), None, "Queued AtCapacity",
        id="queued, gate closed: says why",
    ),
    pytest.param(
        situation(status(), gate=Gate(is_open=False, fails=Reason.IMAGE_PULL_FAILED)), None,
        "Failed ImagePullFailed", id="queued, gate for ever closed: failed",
    ),
    pytest.param(
        situation(status(), AWAY, gate=SHUT), None, "Queued EngineUnreachable", id="queued, engine away: waits"
    ),
    pytest.param(situation(status(), None, UNSURE), None, "Queued Accepted", id="queued, unsure: goes on"),
    pytest.param(situation(status(), None, present("d2", since=0)), None, "Canceled Superseded", id="queued, edited"),
    pytest.param(situation(status(), None, present(source_hash="h2")), Amend, "Queued Accepted", id="queued, label"),
    pytest.param(situation(status(), None, absent(4)), None, "Queued SpecDeleted", id="queued, file just gone: waits"),
    pytest.param(situation(status(), None, absent(5)), None, "Canceled SpecDeleted", id="queued, file gone: canceled"),
    pytest.param(
        situation(status(), None, absent(99), is_held=True, gate=SHUT), None, "Queued Held", id="queued, held: waits"
    ),
    pytest.param(
        situation(with_intent(status(), intent())), None, "Canceled StoppedByUser", id="queued, to stop: canceled"
    ),
    pytest.param(
        situation(with_intent(status(), intent()), AWAY), None, "Canceled StoppedByUser",
        id="queued, to stop, engine away: canceled",
    ),
    # starting
    pytest.param(situation(starting()), Launch, "Starting Starting", id="open attempt, no container: created"),
    pytest.param(situation(starting(), AWAY), None, "Starting Starting", id="open attempt, engine away: waits"),
    pytest.param(
        situation(starting(), AWAY, present("d2")), None, "Starting PreviousRunUnknown",
        id="another run wanted, engine away: says why it waits",
    ),
    pytest.param(situation(starting(), container("created")), Start, "Starting Starting", id="created: started"),
    pytest.param(
        situation(starting(), container("created"), present("d2")), Remove, "Canceled Superseded",
        id="created, edited: removed unstarted",
    ),
    pytest.param(
        situation(with_intent(starting(), intent()), container("created")), Remove, "Canceled StoppedByUser",
        id="created, to stop: removed unstarted",
    ),
    pytest.param(
        situation(with_intent(starting(), intent())), None, "Canceled StoppedByUser", id="not created, to stop"
    ),
    pytest.param(
        situation(starting(), is_rebuilt=True), None, "Failed PreviousRunUnknown",
        id="status lost while starting: never started blindly",
    ),
    pytest.param(
        situation(starting(), container(is_ours=False)), None, "Failed NameConflict", id="a stranger has the name"
    ),
    # running
    pytest.param(situation(starting(), container()), None, "Running Running", id="live: running"),
    pytest.param(situation(running(), container("paused")), None, "Running Paused", id="paused"),
    pytest.param(situation(running(), AWAY), None, "Running Running", id="running, engine away: the truth stays"),
    pytest.param(situation(running()), None, "Failed ContainerLost", id="running, container gone"),
    pytest.param(situation(running(), None, is_rebuilt=True), None, "Failed ContainerLost", id="rebuilt, gone"),
    pytest.param(situation(running(), EXITED), Conclude, "Running Running", id="exited: concluded"),
    pytest.param(situation(running(), container(), present(source_hash="h2")), Amend, "Running Running", id="label"),
    pytest.param(situation(running(), container(), UNSURE), None, "Running Running", id="running, unsure"),
    pytest.param(
        situation(running(), container(), present("d2", since=4)), None, "Running Running", id="edited, not settled"
    ),
    pytest.param(
        situation(running(), container(), present("d2", since=5)), Signal, "Stopping Superseded", id="edited, settled"
    ),
    pytest.param(situation(running(), container(), absent(14)), None, "Running Running", id="file gone, in grace"),
    pytest.param(situation(running(), container(), absent(15)), Signal, "Stopping SpecDeleted", id="file gone"),
    pytest.param(
        situation(running(), container(), absent(99), is_held=True), None, "Running Running", id="file gone, but held"
    ),
    pytest.param(
        situation(running(reruns=1), container(), present(since=0)), Signal, "Stopping Superseded",
        id="a person's rerun does not wait",
    ),
    # stopping
    pytest.param(
        situation(with_intent(running(), intent()), container()), Signal, "Stopping StoppedByUser", id="to stop: told"
    ),
    pytest.param(
        situation(with_intent(running(), intent(signaled=29, delivered_at=ago(28))), container()), None,
        "Stopping StoppedByUser", id="told, within grace: waits",
    ),
    pytest.param(
        situation(with_intent(running(), intent(signaled=29)), container()), Signal, "Stopping StoppedByUser",
        id="nobody knows whether it was told: told again",
    ),
    pytest.param(
        situation(with_intent(running(), intent(signaled=30)), container()), Signal, "Stopping StoppedByUser",
        id="grace over: killed",
    ),
    pytest.param(
        situation(with_intent(running(), intent(signaled=5))), None, "Stopped StoppedByUser",
        id="told, then gone: stopped, not lost",
    ),
    pytest.param(
        situation(with_intent(running(), intent())), None, "Failed ContainerLost",
        id="gone before it was told: lost",
    ),
    pytest.param(
        situation(with_intent(running(), intent(signaled=5)), AWAY), None, "Running Running",
        id="told, engine away: nobody knows",
    ),
    # containers of other attempts
    pytest.param(situation(ended(), EXITED), Remove, "Finished Completed", id="ended and recorded: removed"),
    pytest.param(situation(ended(), container(is_ours=False)), None, "Finished Completed", id="ended, a stranger's"),
    pytest.param(situation(ended(), container(attempt=2)), Adopt, "Finished Completed", id="ours, unrecorded: adopted"),
    pytest.param(
        situation(status(), container(generation=3), gate=OPEN), Adopt, "Queued Accepted", id="never launched beside it"
    ),
    # ended
    pytest.param(situation(ended()), None, "Finished Completed", id="ended: nothing"),
    pytest.param(situation(ended(), None, absent(99)), None, "Finished Completed", id="ended, file gone: nothing"),
    pytest.param(situation(ended(), None, UNSURE), None, "Finished Completed", id="ended, unsure: nothing"),
    pytest.param(situation(ended(), None, present(source_hash="h2")), None, "Finished Completed", id="ended, label"),
    pytest.param(situation(ended(), None, present("d2")), Accept, "Finished Completed", id="ended, edited"),
    pytest.param(situation(ended(), AWAY, present("d2")), None, "Finished Completed", id="ended, edited, engine away"),
    pytest.param(situation(ended(reruns=1)), Accept, "Finished Completed", id="ended, rerun wished"),
    pytest.param(
        situation(ended(Phase.STOPPED, Reason.SPEC_DELETED)), Accept, "Stopped SpecDeleted", id="the file is back"
    ),
    pytest.param(
        situation(ended(Phase.STOPPED, Reason.STOPPED_BY_USER)), None, "Stopped StoppedByUser",
        id="stopped by a person: nothing revives it",
    ),
    pytest.param(
        situation(with_intent(ended(), intent(then_delete=True))), Delete, "Finished Completed", id="to be deleted"
    ),
    pytest.param(
        situation(with_intent(ended(), intent(then_delete=True)), AWAY), None, "Finished Completed",
        id="to be deleted, engine away: its container may still be there",
    ),
    pytest.param(
        situation(with_intent(ended(hidden=True), intent(then_delete=True))), None, "Finished Completed",
        id="deleted already",
    ),
    pytest.param(
        situation(with_intent(ended(), intent(then_delete=True)), EXITED), Remove, "Finished Completed",
        id="to be deleted: the container first",
    ),
    # imported
    pytest.param(situation(running(imported=True), None, absent(99)), None, "Running Running", id="imported: left"),
    pytest.param(situation(ended(imported=True), None, present("d2")), Accept, "Finished Completed", id="edited"),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "action", "words"), CASES)
def test_in_this_situation_this_is_next(seen: Situation, action: type | None, words: str) -> None:
    planned = plan(seen)
    assert (kind(planned), told(planned)) == (action, words)


RECHECKS: list[Any] = [
    pytest.param(situation(running(), container(), present("d2", since=3)), 2, id="an edit settles"),
    pytest.param(situation(running(), container(), absent(8)), 7, id="a deletion settles, and has its grace"),
    pytest.param(situation(status(), None, absent(3)), 2, id="a queued one's deletion settles"),
    pytest.param(situation(with_intent(running(), intent(signaled=10)), container()), 20, id="what is left of grace"),
    pytest.param(situation(with_intent(running(), intent()), container()), 30, id="the whole grace"),
    pytest.param(situation(with_intent(running(), intent(signaled=99)), container()), 2, id="killed: soon again"),
    pytest.param(situation(running(), AWAY), 5, id="engine away"),
    pytest.param(situation(ended(), AWAY, present("d2")), 5, id="engine away, and another run is due"),
    pytest.param(situation(running(), container()), 10, id="nothing is due: its pulse"),
    pytest.param(situation(ended()), None, id="nothing is ever due"),
]


@pytest.mark.parametrize(("seen", "seconds"), RECHECKS)
def test_what_is_due_later_is_looked_at_then(seen: Situation, seconds: int | None) -> None:
    assert plan(seen).recheck_after == (None if seconds is None else timedelta(seconds=seconds))


def test_first_the_containers_own_signal_then_the_kill() -> None:
    found = container(stop_signal="SIGINT")
    first = plan(situation(with_intent(running(), intent()), found)).action
    last = plan(situation(with_intent(running(), intent(signaled=31)), found)).action
    assert (first, last) == (Signal(found, "SIGINT"), Signal(found, "SIGKILL"))


def test_an_end_is_recorded_in_the_same_plan_that_signals_it() -> None:
    planned = plan(situation(running(), container(), absent(99)))
    assert isinstance(planned.action, Signal)
    assert planned.status is not None and planned.status.status.intent is not None
    assert planned.status.status.intent.signaled_at == NOW


def _two_runs(first_reason: str) -> JobStatus:
    first = Generation(generation=1, digest="d0", accepted_at=ago(200), phase=Phase.FAILED, reason=first_reason)
    second = Generation(generation=2, digest="d1", accepted_at=ago(90), phase=Phase.FINISHED, reason="Completed")
    before = ended(generations=(first, second))
    moved: JobStatus = changed(before, metadata=changed(before.metadata, generation=2))
    return moved


@pytest.mark.parametrize(
    ("reason", "action"),
    [
        pytest.param(Reason.EXIT_NON_ZERO, Restore, id="ended by itself: shown again"),
        pytest.param(Reason.STOPPED_BY_USER, Restore, id="stopped by a person: shown again"),
        pytest.param(Reason.SUPERSEDED, Accept, id="superseded: runs"),
        pytest.param(Reason.SPEC_DELETED, Accept, id="its file was gone: runs"),
    ],
)
def test_a_digest_that_comes_back_runs_only_if_it_never_had_its_chance(reason: str, action: type) -> None:
    assert kind(plan(situation(_two_runs(reason), None, present("d0")))) == action


def test_a_digest_that_comes_back_with_a_wish_to_rerun_runs() -> None:
    before = _two_runs(Reason.EXIT_NON_ZERO)
    wished = changed(before, status=changed(before.status, reruns=1))
    assert kind(plan(situation(wished, None, present("d0")))) == Accept


def test_a_moved_file_changes_nothing_but_the_source() -> None:
    planned = plan(situation(ended(), None, present(source="b/a.yaml")))
    assert planned.action is None and planned.status is not None
    assert planned.status.metadata.source == "b/a.yaml"
    assert planned.status.status.phase is Phase.FINISHED


@pytest.mark.parametrize(
    ("seen", "kind", "word", "reason"),
    [
        pytest.param(situation(running(), container()), "SpecPresent", "True", "Found", id="file there"),
        pytest.param(situation(running(), container(), absent(1)), "SpecPresent", "False", "Gone", id="file gone"),
        pytest.param(situation(running(), container(), UNSURE), "SpecPresent", "Unknown", "Unsure", id="unsure"),
        pytest.param(
            situation(running(), container(), absent(9), is_held=True), "SpecPresent", "False", "Held", id="held"
        ),
        pytest.param(situation(running(), container()), "EngineReachable", "True", "Answers", id="engine there"),
        pytest.param(situation(running(), AWAY), "EngineReachable", "False", "EngineUnreachable", id="engine away"),
    ],
)
def test_conditions_tell_what_can_be_reached(seen: Situation, kind: str, word: str, reason: str) -> None:
    status = plan(seen).status
    assert status is not None
    found = condition_of(status, kind)
    assert found is not None
    assert (found.status, found.reason) == (word, reason)


def test_an_ended_job_does_not_depend_on_the_engine() -> None:
    status = plan(situation(ended(), AWAY)).status
    assert status is not None
    assert condition_of(status, "EngineReachable") is None


@pytest.mark.parametrize(
    "seen",
    [
        situation(running(), container()),
        situation(running(), AWAY),
        situation(status(), AWAY),
        situation(ended(), None, absent(9)),
        situation(with_intent(running(), intent(signaled=5)), container()),
    ],
    ids=["running", "engine away", "queued, engine away", "ended, file gone", "stopping"],
)
def test_a_second_look_at_the_same_tells_nothing_new(seen: Situation) -> None:
    first = plan(seen)
    again = plan(replace(seen, status=first.status, now=NOW + timedelta(seconds=1)))
    assert again.status == first.status


def test_a_second_attempt_is_numbered_after_the_first() -> None:
    before = status(attempts=(attempt(reason="Suspended"),))
    planned = plan(situation(before, gate=OPEN))
    assert isinstance(planned.action, Launch)
    assert (planned.action.attempt.generation, planned.action.attempt.attempt) == (1, 2)
