"""How an ended container is judged: by the engine's facts and by what was recorded before it ended."""

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.situations import NOW, ago, attempt, container, ended, intent, running, starting, status, with_intent

from opeva_operator import outcome
from opeva_operator.engine import Container
from opeva_specs.status import JobStatus, Phase, Reason, condition_of


def judged(before: JobStatus, found: Container, **facts: Any) -> JobStatus:
    """The outcome, with no evidence and no restarted engine unless told."""
    return outcome.judged(before, found, outcome.End(now=NOW, **facts))


def exited(code: int, **facts: Any) -> Container:
    return container("exited", exit_code=code, **facts)


STOPPED = with_intent(running(), intent(signaled=30))
CASES = [
    pytest.param(running(), exited(0), False, "Finished Completed", "exit code 0", id="0"),
    pytest.param(running(), exited(1), False, "Failed ExitNonZero", "exit code 1", id="1"),
    pytest.param(running(), exited(2), False, "Failed ExitNonZero", "exit code 2", id="2"),
    pytest.param(running(), exited(139), False, "Failed ExitNonZero", "(SIGSEGV)", id="139"),
    pytest.param(running(), exited(137), False, "Failed ExitNonZero", "(SIGKILL)", id="137 alone is no memory"),
    pytest.param(running(), exited(137, oom_killed=True), False, "Failed OutOfMemory", "memory", id="out of memory"),
    pytest.param(running(), exited(137), True, "Failed EngineRestart", "restarted", id="137, engine restarted"),
    pytest.param(running(), exited(0), True, "Finished Completed", "exit code 0", id="0, engine restarted"),
    pytest.param(
        running(), exited(137, oom_killed=True), True, "Failed OutOfMemory", "memory", id="memory, then restarted"
    ),
    pytest.param(STOPPED, exited(137), False, "Stopped StoppedByUser", "by ann", id="137 after a stop"),
    pytest.param(STOPPED, exited(143), False, "Stopped StoppedByUser", "by ann", id="143 after a stop"),
    pytest.param(STOPPED, exited(0), False, "Stopped StoppedByUser", "by ann", id="0 after a stop"),
    pytest.param(
        STOPPED, exited(3, finished_at=ago(61)), False, "Failed ExitNonZero", "exit code 3", id="ended before the stop"
    ),
    pytest.param(
        with_intent(running(), intent()), exited(3), False, "Failed ExitNonZero", "exit code 3", id="never signaled"
    ),
    pytest.param(
        with_intent(running(), intent(Reason.SUPERSEDED, signaled=9, by="specs", message="its file wants another")),
        exited(143), False, "Stopped Superseded", "its file wants another", id="superseded",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("before", "found", "engine_restarted", "words", "message"), CASES)
def test_an_end_is_judged_by_facts(
    before: JobStatus, found: Container, engine_restarted: bool, words: str, message: str
) -> None:
    after = judged(before, found, engine_restarted=engine_restarted)
    assert f"{after.status.phase} {after.status.reason}" == words
    assert message in after.status.message
    assert after.attempt is not None
    told = (after.attempt.exit_code, after.attempt.oom_killed, after.attempt.finished_at)
    assert told == (found.exit_code, found.oom_killed, found.finished_at)
    assert after.attempt.reason == after.status.reason
    assert after.status.finished_at == found.finished_at
    assert outcome.present(after).phase is after.status.phase


def test_the_last_words_of_a_failed_run_are_its_evidence() -> None:
    assert judged(running(), exited(1), evidence=("no such column",)).status.message.endswith(": no such column")
    assert "no such" not in judged(running(), exited(0), evidence=("no such column",)).status.message


@pytest.mark.parametrize(("code", "word"), [(0, "True"), (1, "False")])
def test_the_condition_complete_tells_success_from_failure(code: int, word: str) -> None:
    after = judged(running(), exited(code))
    found = condition_of(after, "Complete")
    assert found is not None and found.status == word
    assert condition_of(after, "Progressing") is None


def test_an_open_attempt_is_numbered_and_recorded_before_anything_is_made() -> None:
    first = outcome.opened(status(), NOW)
    assert first.attempt is not None and first.attempt.is_open
    assert (first.attempt.attempt, first.attempt.created_at, first.status.phase) == (1, NOW, Phase.STARTING)


def test_an_attempt_of_which_nothing_was_made_is_taken_back_and_its_number_is_used_again() -> None:
    back = outcome.unopened(outcome.opened(status(attempts=(attempt(reason="Suspended"),)), NOW))
    assert (back.status.phase, len(back.status.attempts)) == (Phase.QUEUED, 1)
    again = outcome.opened(back, NOW)
    assert again.attempt is not None and again.attempt.attempt == 2


def test_the_start_that_is_told_is_the_engines() -> None:
    after = outcome.seen(starting(), container(started_at=ago(33)))
    assert after.attempt is not None
    assert (after.attempt.started_at, after.attempt.container_id, after.status.phase) == (ago(33), "c1", Phase.RUNNING)


def test_what_is_being_stopped_stays_so_while_it_still_runs() -> None:
    before = outcome.stopping(running(), intent(message="enough"))
    after = outcome.seen(before, container())
    assert (after.status.phase, after.status.message) == (Phase.STOPPING, "is being stopped: enough")


def test_what_the_engine_leaves_out_does_not_erase_what_was_known() -> None:
    after = outcome.seen(running(), container(started_at=ago(50), image=""))
    assert after.attempt is not None and after.attempt.started_at == ago(50)


def test_an_end_without_a_container_is_told_at_the_operators_time() -> None:
    after = outcome.canceled(status(), intent(message="enough"), NOW)
    assert (after.status.phase, after.status.finished_at, after.status.message) == (
        Phase.CANCELED,
        NOW,
        "by ann: enough",
    )


def test_an_end_closes_no_attempt_of_another_generation() -> None:
    earlier = ended().status.attempts[0]
    before = status(attempts=(earlier.model_copy(update={"generation": 0}),))
    assert (
        outcome.failed(before, Reason.START_FAILED, "no", outcome.End(now=NOW)).status.attempts[0].reason
        == Reason.COMPLETED
    )


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"host_rebooted": True, "engine_restarted": True}, Reason.HOST_REBOOT),
        ({"engine_restarted": True}, Reason.ENGINE_RESTART),
        ({}, Reason.EXIT_NON_ZERO),
    ],
)
def test_a_reboot_of_the_host_is_told_apart_from_a_restart_of_the_engine(facts: dict[str, Any], reason: Reason) -> None:
    assert judged(running(), exited(255), **facts).status.reason == reason


def test_a_stop_is_judged_by_one_clock() -> None:
    """The engine's is an hour behind ours."""
    stopped = with_intent(running(), intent(signaled=10))
    found = exited(143, finished_at=ago(3600 + 5))
    assert judged(stopped, found, clock_offset=timedelta(hours=-1)).status.phase is Phase.STOPPED
    early = exited(3, finished_at=ago(3600 + 15))
    assert judged(stopped, early, clock_offset=timedelta(hours=-1)).status.reason == Reason.EXIT_NON_ZERO
