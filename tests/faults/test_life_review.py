"""Ends, retries and places where two things happen at once: on the whole operator with a fake engine."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.machines import Fleet
from tests.unit.simulation import Simulation

from opeva_operator.engine import EngineError, EngineUnreachable, ImageMissing, NetworkNotFound
from opeva_operator.testing import FakeRun


@pytest.fixture
def s(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path / "data")


def live(s: Simulation, name: str = "a", **spec: Any) -> None:
    """A job that runs."""
    s.drop(name, **spec)
    s.run()
    assert s.phase(name) == "Running Running"


def signals(s: Simulation) -> list[str]:
    """The signals that were sent, in order."""
    return [call[2] for call in s.engine.calls if call[0] == "signal"]


# -- a person's word against retries -------------------------------------------------------------------------------


@pytest.mark.parametrize("wish", ["stop", "delete"])
def test_what_fails_by_itself_while_a_person_ends_it_is_not_tried_again(s: Simulation, wish: str) -> None:
    live(s, backoffLimit=5)
    s.engine.is_reachable = False
    s.wish("a", wish)
    s.run()
    s.finish("a", 3)
    s.engine.is_reachable = True
    s.wait(600)
    assert s.engine.starts == ["a"]
    assert s.phase("a") == ("Failed ExitNonZero" if wish == "stop" else "-") or s.status("a").status.hidden


def test_what_is_lost_while_a_person_ends_it_is_not_tried_again(s: Simulation) -> None:
    live(s, backoffLimit=5)
    s.engine.is_reachable = False
    s.wish("a", "stop")
    s.run()
    s.engine.host.boxes.clear()
    s.engine.is_reachable = True
    s.wait(600)
    assert (s.phase("a"), s.engine.starts) == ("Failed ContainerLost", ["a"])


def test_retries_taken_back_during_the_pause_are_not_made(s: Simulation) -> None:
    live(s, backoffLimit=3)
    s.finish("a", 3)
    s.run()
    assert s.phase("a") == "Queued BackOff"
    s.drop("a", backoffLimit=0)
    s.wait(60)
    assert (s.phase("a"), s.engine.starts) == ("Failed ExitNonZero", ["a"])


def test_suspended_attempts_are_not_told_as_failed(s: Simulation) -> None:
    live(s, backoffLimit=1)
    s.drop("a", backoffLimit=1, suspend=True)
    s.wait(10)
    s.drop("a", backoffLimit=1)
    s.run()
    for _ in range(2):
        s.finish("a", 3)
        s.wait(15)
    assert s.phase("a") == "Failed RetriesExhausted"
    assert "2 attempts failed" in s.status("a").status.message


# -- stopping ------------------------------------------------------------------------------------------------------


def test_a_sigterm_that_the_engine_did_not_take_is_sent_again(s: Simulation) -> None:
    live(s, terminationGracePeriodSeconds=60)
    s.engine.fail("signal", EngineUnreachable("no answer"))
    s.wish("a", "stop")
    s.wait(10)
    assert s.phase("a") == "Stopped StoppedByUser"
    assert s.status("a").status.attempts[0].exit_code == 143


@pytest.mark.parametrize("step", range(1, 30))
def test_wherever_the_operator_dies_a_job_is_asked_to_end_before_it_is_killed(s: Simulation, step: int) -> None:
    live(s, terminationGracePeriodSeconds=60)
    s.crash_at(step)
    s.wish("a", "stop")
    s.wait(30)
    s.wait(60)
    assert s.phase("a") == "Stopped StoppedByUser"
    assert s.status("a").status.attempts[0].exit_code == 143


def test_a_job_that_ignores_sigterm_gets_one(s: Simulation) -> None:
    s.engine.runs["a"] = FakeRun(ignores_term=True)
    live(s, terminationGracePeriodSeconds=30)
    s.wish("a", "stop")
    s.wait(25)
    s.restart()
    s.wait(20)
    assert signals(s) == ["SIGTERM", "SIGKILL"]


def test_a_wish_does_not_have_an_unkillable_job_take_its_place_again(tmp_path: Path) -> None:
    s = Simulation(tmp_path / "data", max_concurrent_jobs=1)
    s.engine.runs["a"] = FakeRun(ignores_term=True, ignores_kill=True)
    live(s, terminationGracePeriodSeconds=1)
    s.wish("a", "stop")
    s.wait(90)
    assert s.phase("a") == "Stopping Unkillable"
    s.wish("a", "delete")
    s.run()
    assert s.phase("a") == "Stopping Unkillable"
    s.drop("b")
    s.run()
    assert s.phase("b") == "Running Running"


@pytest.mark.parametrize("edit", [{}, {"args": ["other"]}])
def test_an_outage_does_not_have_an_unkillable_job_take_its_place_again(tmp_path: Path, edit: dict[str, Any]) -> None:
    s = Simulation(tmp_path / "data", max_concurrent_jobs=1)
    s.engine.runs["a"] = FakeRun(ignores_term=True, ignores_kill=True)
    live(s, terminationGracePeriodSeconds=1)
    s.wish("a", "stop")
    s.wait(90)
    s.drop("a", **edit)
    s.engine.is_reachable = False
    s.wait(30)
    assert s.phase("a") == "Stopping Unkillable"


# -- an engine that hiccups ----------------------------------------------------------------------------------------


def test_an_engine_that_is_away_while_an_image_is_fetched_fails_no_job(s: Simulation) -> None:
    s.engine.host.registry["far:1"] = "sha256:1"
    s.engine.fail("pull", EngineUnreachable("restarting"), times=5)
    s.drop("a", image="far:1")
    s.run()
    s.wait(60)
    assert s.phase("a") == "Running Running"


def test_an_image_that_comes_and_is_not_there_is_not_fetched_for_ever(s: Simulation) -> None:
    s.engine.host.registry["far:1"] = "sha256:1"
    s.engine.fail("create", ImageMissing("No such image: far:1"), times=1000)
    s.drop("a", image="far:1")
    s.wait(60)
    assert s.phase("a") == "Failed ImagePullFailed"
    assert [call[0] for call in s.engine.calls].count("pull") == 1


def test_an_image_that_was_removed_since_it_came_is_fetched_again(s: Simulation) -> None:
    s.engine.host.registry["far:1"] = "sha256:1"
    live(s, image="far:1")
    s.finish("a")
    s.wait(3600)
    del s.engine.host.images["far:1"]
    live(s, image="far:1", rerun=1)


def test_refusals_of_an_earlier_run_are_not_held_against_the_next(s: Simulation) -> None:
    s.engine.fail("create", EngineUnreachable("no answer"), times=1000)
    s.drop("a")
    s.run()
    s.wish("a", "stop")
    s.run()
    assert s.phase("a") == "Canceled StoppedByUser"
    s.wait(900)
    s.engine.fail("create", EngineUnreachable("no answer"))
    s.drop("a", rerun=1)
    s.wait(20)
    assert s.phase("a") == "Running Running"


def test_a_job_is_not_failed_by_an_engine_that_was_away_between_two_refusals(s: Simulation) -> None:
    s.engine.fail("create", EngineUnreachable("no answer"))
    s.engine.fail("ping", EngineUnreachable("no answer"))
    s.drop("a")
    s.run()
    s.engine.is_reachable = False
    s.wait(900)
    s.engine.is_reachable = True
    s.engine.fail("create", EngineUnreachable("no answer"))
    s.wait(20)
    assert s.phase("a") == "Running Running"


def test_what_the_engine_will_not_tell_of_an_image_holds_up_no_end(s: Simulation) -> None:
    s.engine.fail("image_digest", EngineError("refused"), times=1000)
    live(s)
    s.finish("a", 0)
    s.wait(5)
    assert s.phase("a") == "Finished Completed"


@pytest.mark.parametrize("hours", [-2, 2])
def test_an_engine_whose_clock_goes_wrong_does_not_change_how_a_run_ended(s: Simulation, hours: int) -> None:
    clock = s.clock
    s.engine.host.clock = lambda: clock() + timedelta(hours=hours)
    s.restart()
    live(s, activeDeadlineSeconds=60)
    s.wait(50)
    assert s.phase("a") == "Running Running"
    s.wait(20)
    assert s.phase("a") == "Failed DeadlineExceeded"


def test_after_an_outage_the_line_is_as_it_was(tmp_path: Path) -> None:
    names = [f"n{number}" for number in range(9)]
    s = Simulation(tmp_path / "data", max_concurrent_jobs=1)
    live(s, "busy")
    for name in names:
        s.drop(name)
        s.wait(1)
    s.engine.is_reachable = False
    s.wait(31)
    s.finish("busy")
    s.engine.is_reachable = True
    for name in names:
        s.wait(6)
        assert s.phase(name) == "Running Running"
        s.finish(name)


def test_after_a_host_could_not_be_used_the_line_is_as_it_was(tmp_path: Path) -> None:
    names = [f"n{number}" for number in range(9)]
    s = Simulation(tmp_path / "data", max_concurrent_jobs=1)
    live(s, "busy")
    for name in names:
        s.drop(name)
        s.wait(1)
    facts = s.operator._hosts.local.facts
    facts.unusable = "its volume is another one"
    s.wait(31)
    assert s.phase("n0") == "Queued HostUnusable"
    s.finish("busy")
    facts.unusable = None
    for name in names:
        s.wait(31)
        assert s.phase(name) == "Running Running"
        s.finish(name)


def test_a_host_that_is_back_and_was_looked_at_wakes_its_jobs(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "data", "far")
    far = fleet.hosts.get("far")
    assert far is not None
    far.look()
    assert far.facts.unusable is None
    far.doubt()
    fleet.woken.clear()
    far.look()
    assert (far.facts.unusable, fleet.woken) == (None, ["far"])


def test_a_job_that_cannot_be_looked_at_does_not_keep_the_others_waiting(tmp_path: Path) -> None:
    s = Simulation(tmp_path / "data", max_concurrent_jobs=1)
    live(s, "busy")
    s.drop("a")
    s.wait(1)
    s.drop("b")
    s.wait(1)
    record = s.volume.root / "state/jobs/a/accepted.json"
    record.unlink()
    record.mkdir()
    s.finish("busy")
    s.wait(10)
    assert s.phase("b") == "Running Running"


# -- the end of its files ------------------------------------------------------------------------------------------


def test_a_tombstone_without_a_file_goes_though_the_operator_was_restarted(s: Simulation) -> None:
    live(s, ttlSecondsAfterFinished=5)
    s.finish("a", 0)
    s.wait(10)
    s.remove("a.yaml")
    s.wait(60)
    assert s.status("a").status.hidden
    s.restart()
    s.run()
    s.clock.advance(3700)
    s.wait(31)
    assert s.statuses.read("a") is None


def test_a_run_shown_again_is_kept_as_its_file_says(s: Simulation) -> None:
    live(s, args=["1"], keep=True)
    s.finish("a", 0)
    s.wait(1)
    s.drop("a", args=["2"], ttlSecondsAfterFinished=30)
    s.run()
    s.finish("a", 0)
    s.wait(5)
    s.drop("a", args=["1"], keep=True)
    s.wait(100)
    assert s.status("a").status.attempts[0].generation == s.status("a").metadata.generation == 1
    assert (s.volume.jobs / "a").exists() and not s.status("a").status.hidden


def test_after_its_files_expired_a_run_is_told_of_no_earlier_one(s: Simulation) -> None:
    live(s, ttlSecondsAfterFinished=5)
    s.finish("a", 0)
    s.wait(10)
    s.drop("a", rerun=1)
    s.run()
    assert "OPEVA_PREVIOUS_ATTEMPT" not in s.engine.wanted("a").env
    assert not (s.volume.jobs / "a/attempts").exists()


def test_a_network_that_is_there_and_lets_nobody_in_is_told_and_tried_now_and_then(s: Simulation) -> None:
    s.engine.host.networks.add("odd")
    s.engine.fail("start", NetworkNotFound("network odd not found"), times=1000)
    s.drop("a", network="odd")
    s.run()
    assert s.phase("a") == "Queued NetworkMissing"
    assert "does not let" in s.status("a").status.message
    assert len(s.status("a").status.attempts) == 0
    before = len(s.engine.calls)
    s.wait(20)
    assert len(s.engine.calls) - before < 60
