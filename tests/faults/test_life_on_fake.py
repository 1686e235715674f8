"""Retries, suspension, limits and ends, on the whole operator with a fake engine that dies wherever it likes."""

from pathlib import Path
from typing import Any

import pytest
from tests.unit.simulation import Simulation

from opeva_operator.retries import FIRST_PAUSE, LONGEST_PAUSE, pause
from opeva_operator.testing import FakeRun
from opeva_specs.status import condition_of


@pytest.fixture
def s(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path / "data")


def live(s: Simulation, name: str = "a", **spec: Any) -> None:
    """A job that runs."""
    s.drop(name, **spec)
    s.run()
    assert s.phase(name) == "Running Running"


def until(s: Simulation, name: str, phase: str, seconds: int = 500) -> int:
    """Let time pass until the job is there; how many seconds it took."""
    s.run()
    for passed in range(seconds):
        if s.phase(name) == phase:
            return passed
        s.wait(1)
    raise AssertionError(f"{s.phase(name)} after {seconds} s, not {phase}")


def reasons(s: Simulation, name: str = "a") -> list[str | None]:
    """How each attempt ended."""
    return [attempt.reason for attempt in s.status(name).status.attempts]


# -- retries -------------------------------------------------------------------------------------------------------


def test_without_a_limit_of_retries_a_failure_is_the_end(s: Simulation) -> None:
    live(s)
    s.finish("a", 3)
    s.wait(900)
    assert (s.phase("a"), s.engine.starts) == ("Failed ExitNonZero", ["a"])


def test_a_failed_attempt_is_followed_by_the_next_after_a_growing_pause_until_the_limit(s: Simulation) -> None:
    live(s, backoffLimit=3)
    pauses = []
    for _ in range(3):
        s.finish("a", 3)
        s.run()
        assert s.phase("a") == "Queued BackOff"
        pauses.append(until(s, "a", "Running Running"))
    assert [8 <= pauses[0] <= 11, 16 <= pauses[1] <= 21, 32 <= pauses[2] <= 41] == [True] * 3
    s.finish("a", 4)
    s.wait(900)
    told = s.status("a")
    assert (s.phase("a"), s.engine.starts) == ("Failed RetriesExhausted", ["a"] * 4)
    assert [a.exit_code for a in told.status.attempts] == [3, 3, 3, 4]
    assert [a.attempt for a in told.status.attempts] == [1, 2, 3, 4]
    assert "4 attempts" in told.status.message and "exit code 4" in told.status.message
    assert told.metadata.generation == 1


def test_pauses_double_up_to_six_minutes_and_chance_only_shortens_them() -> None:
    whole = [pause(n, 0.0) for n in range(1, 9)]
    assert whole[:6] == [FIRST_PAUSE * 2**n for n in range(6)]
    assert whole[6:] == [LONGEST_PAUSE] * 2
    assert all(pause(n, 0.0) * 0.8 <= pause(n, chance) <= pause(n, 0.0) for n in range(1, 9) for chance in (0.3, 1.0))


def test_a_retry_that_succeeds_finishes_the_job(s: Simulation) -> None:
    live(s, backoffLimit=1)
    s.finish("a", 3)
    until(s, "a", "Running Running")
    s.finish("a", 0)
    s.wait(2)
    assert (s.phase("a"), reasons(s)) == ("Finished Completed", ["ExitNonZero", "Completed"])


@pytest.mark.parametrize(
    ("terms", "exit_code", "phase"),
    [
        pytest.param({"failOn": [7]}, 7, "Failed ExitNonZero", id="failOn ends it"),
        pytest.param({"failOn": [7]}, 8, "Queued BackOff", id="another code does not"),
        pytest.param({"retryOn": [7]}, 7, "Queued BackOff", id="retryOn tries again"),
        pytest.param({"retryOn": [7]}, 8, "Failed ExitNonZero", id="only what it names"),
    ],
)
def test_exit_codes_decide_whether_a_try_is_worth_it(
    s: Simulation, terms: dict[str, Any], exit_code: int, phase: str
) -> None:
    live(s, backoffLimit=5, **terms)
    s.finish("a", exit_code)
    s.run()
    assert s.phase("a") == phase


def test_the_pause_before_a_retry_survives_a_restart(s: Simulation) -> None:
    live(s, backoffLimit=1)
    s.finish("a", 3)
    s.run()
    retry_at = s.status("a").status.retry_at
    s.restart()
    s.run()
    assert (s.phase("a"), s.status("a").status.retry_at) == ("Queued BackOff", retry_at)
    until(s, "a", "Running Running", 15)


def test_a_job_in_back_off_holds_no_place(tmp_path: Path) -> None:
    s = Simulation(tmp_path / "data", max_concurrent_jobs=1)
    live(s, backoffLimit=1)
    s.drop("b")
    s.run()
    s.finish("a", 3)
    s.run()
    assert (s.phase("a"), s.phase("b")) == ("Queued BackOff", "Running Running")
    s.wait(30)
    assert s.phase("a") == "Queued AtCapacity"
    s.finish("b")
    s.wait(1)
    assert s.phase("a") == "Running Running"


def test_an_engine_restart_is_charged_to_the_server_and_never_to_the_user(s: Simulation) -> None:
    live(s, backoffLimit=1)
    for _ in range(3):
        s.engine.restart()
        until(s, "a", "Queued BackOff")
        until(s, "a", "Running Running")
    s.finish("a", 3)
    until(s, "a", "Queued BackOff")
    until(s, "a", "Running Running")
    s.engine.restart()
    until(s, "a", "Failed RetriesExhausted")
    assert reasons(s) == ["EngineRestart"] * 3 + ["ExitNonZero", "EngineRestart"]


def test_what_ran_is_not_run_again_after_an_engine_restart_unless_its_spec_allows_retries(s: Simulation) -> None:
    live(s)
    s.engine.restart()
    s.wait(900)
    assert (s.phase("a"), s.engine.starts) == ("Failed EngineRestart", ["a"])


def test_each_attempt_starts_with_a_clean_folder_and_knows_where_the_last_one_is(s: Simulation) -> None:
    live(s, backoffLimit=1)
    result = s.volume.jobs / "a/results/result.json"
    result.write_text("{}")
    s.finish("a", 3)
    until(s, "a", "Running Running")
    assert not result.exists()
    assert (s.volume.jobs / "a/attempts/1-1/results/result.json").exists()
    env = s.engine.wanted("a").env
    assert (env["OPEVA_GENERATION"], env["OPEVA_ATTEMPT"]) == ("1", "2")
    assert env["OPEVA_PREVIOUS_ATTEMPT"] == "/data/jobs/a/attempts/1-1"


def test_a_stop_during_back_off_ends_the_job(s: Simulation) -> None:
    live(s, backoffLimit=5)
    s.finish("a", 3)
    s.run()
    s.wish("a", "stop")
    s.wait(60)
    assert (s.phase("a"), s.engine.starts) == ("Stopped StoppedByUser", ["a"])


@pytest.mark.parametrize("step", range(1, 26))
def test_wherever_the_operator_dies_no_attempt_is_lost_or_doubled(s: Simulation, step: int) -> None:
    live(s, backoffLimit=1)
    s.crash_at(step)
    s.finish("a", 3)
    until(s, "a", "Running Running")
    s.finish("a", 0)
    until(s, "a", "Finished Completed")
    assert reasons(s) == ["ExitNonZero", "Completed"]
    assert s.engine.starts == ["a", "a"]


# -- suspension ----------------------------------------------------------------------------------------------------


def test_a_suspended_job_waits_and_goes_on_when_it_is_no_longer(s: Simulation) -> None:
    s.drop("a", suspend=True)
    s.wait(30)
    assert (s.phase("a"), s.engine.starts) == ("Queued Suspended", [])
    s.drop("a", suspend=False)
    s.run()
    assert (s.phase("a"), s.status("a").metadata.generation) == ("Running Running", 1)


def test_a_live_run_is_suspended_after_the_settle_time_and_charged_to_nobody(s: Simulation) -> None:
    live(s)
    s.drop("a", suspend=True)
    s.wait(3)
    assert s.phase("a") == "Running Running"
    until(s, "a", "Queued Suspended", 10)
    assert reasons(s) == ["Suspended"]
    s.wait(100)
    s.drop("a", suspend=False)
    s.run()
    assert s.phase("a") == "Running Running"
    s.finish("a", 3)
    s.wait(1)
    told = s.status("a")
    assert (s.phase("a"), [a.attempt for a in told.status.attempts]) == ("Failed ExitNonZero", [1, 2])
    assert told.metadata.generation == 1


def test_a_suspension_that_is_taken_back_at_once_stops_nothing(s: Simulation) -> None:
    live(s)
    s.drop("a", suspend=True)
    s.wait(2)
    s.drop("a", suspend=False)
    s.wait(60)
    assert (s.phase("a"), s.engine.starts) == ("Running Running", ["a"])


def test_suspending_an_ended_job_changes_nothing(s: Simulation) -> None:
    live(s)
    s.finish("a", 0)
    s.wait(1)
    s.drop("a", suspend=True)
    s.wait(30)
    assert s.phase("a") == "Finished Completed"


@pytest.mark.parametrize("step", range(1, 20))
def test_wherever_the_operator_dies_a_suspension_is_kept(s: Simulation, step: int) -> None:
    live(s)
    s.drop("a", suspend=True)
    s.crash_at(step)
    until(s, "a", "Queued Suspended", 60)
    s.drop("a", suspend=False)
    until(s, "a", "Running Running", 60)
    assert s.engine.starts == ["a", "a"]


# -- limits --------------------------------------------------------------------------------------------------------


def test_a_run_that_takes_longer_than_its_deadline_has_failed(s: Simulation) -> None:
    live(s, activeDeadlineSeconds=60)
    s.wait(55)
    assert s.phase("a") == "Running Running"
    until(s, "a", "Failed DeadlineExceeded", 20)
    assert "activeDeadlineSeconds: 60" in s.status("a").status.message


def test_the_deadline_is_of_one_attempt(s: Simulation) -> None:
    live(s, activeDeadlineSeconds=60, backoffLimit=1)
    until(s, "a", "Queued BackOff", 90)
    until(s, "a", "Running Running")
    s.wait(55)
    assert s.phase("a") == "Running Running"
    until(s, "a", "Failed RetriesExhausted", 20)
    assert reasons(s) == ["DeadlineExceeded"] * 2


def test_a_deadline_that_is_edited_counts_for_the_run_there_is(s: Simulation) -> None:
    live(s)
    s.wait(100)
    s.drop("a", activeDeadlineSeconds=50)
    s.wait(2)
    assert s.phase("a") == "Failed DeadlineExceeded"


def test_a_deadline_spares_no_run_that_ignores_sigterm(s: Simulation) -> None:
    s.engine.runs["a"] = FakeRun(ignores_term=True)
    live(s, activeDeadlineSeconds=10, terminationGracePeriodSeconds=5)
    until(s, "a", "Stopping DeadlineExceeded", 20)
    until(s, "a", "Failed DeadlineExceeded", 20)
    assert s.status("a").status.attempts[0].exit_code == 137


def test_what_sigkill_does_not_end_gives_its_place_back_and_is_told_as_stopped_only_when_it_is(tmp_path: Path) -> None:
    s = Simulation(tmp_path / "data", max_concurrent_jobs=1)
    s.engine.runs["a"] = FakeRun(ignores_term=True, ignores_kill=True)
    live(s, terminationGracePeriodSeconds=1)
    s.drop("b")
    s.wish("a", "stop")
    s.wait(30)
    assert (s.phase("a"), s.phase("b")) == ("Stopping StoppedByUser", "Queued AtCapacity")
    until(s, "a", "Stopping Unkillable", 90)
    s.wait(1)
    assert s.phase("b") == "Running Running"
    s.engine.finish("a", 137)
    s.wait(2)
    assert (s.phase("a"), s.phase("b")) == ("Stopped StoppedByUser", "Running Running")


def progress(s: Simulation, percent: float, name: str = "a") -> None:
    (s.volume.jobs / name / "progress/progress.json").write_text(f'{{"percent": {percent}}}')


def progressing(s: Simulation, name: str = "a") -> str:
    """Whether the job is told to get on."""
    told = condition_of(s.status(name), "Progressing")
    assert told is not None
    return told.status


def test_a_run_that_falls_silent_is_told_so_and_goes_on(s: Simulation) -> None:
    live(s)
    for step in range(30):
        progress(s, step)
        s.wait(10)
    assert progressing(s) == "True"
    s.wait(400)
    assert (progressing(s), s.phase("a")) == ("False", "Running Running")
    progress(s, 50)
    s.wait(20)
    assert progressing(s) == "True"


def test_a_run_that_is_silent_for_longer_than_it_may_has_stalled(s: Simulation) -> None:
    live(s, stallSeconds=120, backoffLimit=1)
    for step in range(30):
        progress(s, step)
        s.wait(10)
    assert s.phase("a") == "Running Running"
    until(s, "a", "Queued BackOff", 200)
    assert reasons(s) == ["Stalled"]
    assert "stallSeconds: 120" in (s.status("a").status.attempts[0].message or "")


def test_silence_while_the_engine_is_away_or_the_job_paused_is_no_stall(s: Simulation) -> None:
    live(s, stallSeconds=120)
    s.engine.pause("a")
    s.wait(600)
    s.engine.is_reachable = False
    s.wait(600)
    assert s.phase("a") == "Running Paused"


def test_progress_is_told_in_the_status_and_stands_still_at_the_end(s: Simulation) -> None:
    live(s)
    progress(s, 40)
    s.wait(20)
    progress(s, 30)
    s.wait(20)
    told = s.status("a").status.attempts[0].progress
    assert told is not None and told.percent == 40
    progress(s, 60)
    s.finish("a", 3)
    s.wait(1)
    told = s.status("a").status.attempts[0].progress
    assert told is not None and (told.percent, told.eta_seconds) == (60, None)


# -- the end of its files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("exit_code", "field"), [(0, "ttlSecondsAfterFinished"), (1, "ttlSecondsAfterFailed")])
def test_files_go_when_their_time_is_over_and_the_job_does_not_run_again(
    s: Simulation, exit_code: int, field: str
) -> None:
    live(s, **{field: 60})
    s.finish("a", exit_code)
    s.wait(55)
    assert (s.volume.jobs / "a").exists()
    s.restart()
    s.wait(10)
    assert not (s.volume.jobs / "a").exists()
    assert s.status("a").status.hidden
    s.restart()
    s.wait(60)
    assert (s.engine.starts, (s.volume.specs / "a.yaml").exists()) == (["a"], True)
    s.drop("a", rerun=1)
    s.run()
    assert (s.phase("a"), s.status("a").status.hidden) == ("Running Running", False)


def test_the_other_ends_time_counts_not(s: Simulation) -> None:
    live(s, ttlSecondsAfterFailed=5)
    s.finish("a", 0)
    s.wait(60)
    assert (s.volume.jobs / "a").exists()


def test_what_is_to_be_kept_is_kept(s: Simulation) -> None:
    live(s, ttlSecondsAfterFinished=5, keep=True)
    s.finish("a", 0)
    s.wait(60)
    assert (s.volume.jobs / "a").exists() and not s.status("a").status.hidden


def test_a_tombstone_goes_some_time_after_its_file(s: Simulation) -> None:
    live(s, ttlSecondsAfterFinished=5)
    s.finish("a", 0)
    s.wait(10)
    s.remove("a.yaml")
    s.wait(60)
    assert s.status("a").status.hidden
    s.clock.advance(3600)
    s.wait(31)
    assert s.statuses.read("a") is None
    assert not (s.volume.root / "state/jobs/a").exists()


# -- places --------------------------------------------------------------------------------------------------------


def test_the_higher_priority_goes_first_and_may_be_raised_while_it_waits(tmp_path: Path) -> None:
    s = Simulation(tmp_path / "data", max_concurrent_jobs=1)
    live(s, "busy")
    for name, priority in (("low", 0), ("high", 5), ("late", 0)):
        s.drop(name, priority=priority)
        s.wait(1)
    s.drop("late", priority=9)
    s.wait(1)
    for name in ("busy", "late", "high", "low"):
        assert s.phase(name) == "Running Running"
        s.finish(name)
        s.wait(1)
    assert s.engine.starts == ["busy", "late", "high", "low"]


def test_every_blocker_is_told_at_once(tmp_path: Path) -> None:
    s = Simulation(tmp_path / "data", max_concurrent_jobs=1)
    live(s, "busy")
    s.drop("a", suspend=True, configPath="missing.yaml", targetHost="moon", args=["x"])
    s.run()
    told = s.status("a").status
    assert [b.kind for b in told.blockers] == ["Suspended", "ConfigMissing", "HostUnknown"]
    s.drop("b", configPath="missing.yaml", suspend=True)
    s.run()
    assert [b.kind for b in s.status("b").status.blockers] == ["Suspended", "ConfigMissing", "AtCapacity"]
    assert all(b.message and b.unblocks for b in s.status("b").status.blockers)


def test_a_config_that_names_a_missing_data_set_waits_for_it(s: Simulation) -> None:
    config = {"simulator": {"dataset_path": "/data/datasets/town/schema.json"}}
    s.drop("a", config=config)
    s.run()
    assert s.phase("a") == "Queued DatasetMissing"
    (s.volume.root / "datasets/town").mkdir(parents=True)
    s.wait(31)
    assert s.phase("a") == "Running Running"
