"""What the whole operator must survive, on a fake engine: lost folders, outages, crashes at any step, lost statuses."""

import shutil
from pathlib import Path

import orjson
import pytest
from tests.unit.mortal import Crash
from tests.unit.simulation import Simulation

from opeva_operator.engine import EngineUnreachable
from opeva_operator.launch import container_name
from opeva_operator.testing import FakeRun
from opeva_specs.status import condition_of


@pytest.fixture
def s(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path / "data")


def live(s: Simulation, name: str = "a") -> None:
    """A job that runs."""
    s.drop(name)
    s.run()
    assert s.phase(name) == "Running Running"


def over(s: Simulation, name: str = "a", exit_code: int = 0) -> None:
    """A job that has ended by itself."""
    live(s, name)
    s.finish(name, exit_code)
    s.wait(1)


def queued(s: Simulation, name: str = "b") -> None:
    """A job that waits for its turn behind others."""
    for number in range(s.settings.max_concurrent_jobs):
        live(s, f"other-{number}")
    s.drop(name)
    s.run()
    assert s.phase(name) == "Queued AtCapacity"


# -- the deletion guard --------------------------------------------------------------------------------------------


def five(s: Simulation) -> list[str]:
    """Four that run and one that waits."""
    queued(s)
    return [f"other-{number}" for number in range(4)]


def test_many_files_gone_at_once_end_nothing_until_they_are_back(s: Simulation) -> None:
    names = five(s)
    for name in names:
        s.remove(f"{name}.yaml")
    s.wait(90)
    assert {s.phase(name) for name in names} == {"Running Running"}
    s.operator._heartbeat()
    told = orjson.loads((s.volume.root / "state" / "operator.json").read_bytes())
    assert told["heldDeletions"] == names
    for name in names:
        s.drop(name)
    s.wait(20)
    assert s.operator._specs.held == frozenset()
    assert len(s.engine.starts) == 4


def test_held_deletions_go_on_when_they_are_confirmed(s: Simulation) -> None:
    names = five(s)
    for name in names:
        s.remove(f"{name}.yaml")
    s.wait(30)
    (s.volume.control / "confirm-deletions").touch()
    s.tell(s.volume.control / "confirm-deletions")
    s.wait(20)
    assert {s.phase(name) for name in names} == {"Stopped SpecDeleted"}


def test_a_person_can_stop_a_held_run(s: Simulation) -> None:
    names = five(s)
    for name in names:
        s.remove(f"{name}.yaml")
    s.wait(5)
    s.wish(names[0], "stop")
    s.wait(30)
    assert s.phase(names[0]) == "Stopped StoppedByUser"
    assert {s.phase(name) for name in names[1:]} == {"Running Running"}


def test_a_restart_does_not_let_held_deletions_through(s: Simulation) -> None:
    names = five(s)
    for name in names:
        s.remove(f"{name}.yaml")
    s.wait(5)
    s.restart()
    s.wait(60)
    assert {s.phase(name) for name in names} == {"Running Running"}


@pytest.mark.parametrize("how", ["missing", "foreign", "folder"])
def test_an_unmounted_specs_folder_stops_nothing(s: Simulation, how: str) -> None:
    live(s)
    live(s, "b")
    away = s.volume.root / "away"
    s.volume.specs.rename(away)
    if how != "folder":
        s.volume.specs.mkdir()
    if how == "foreign":
        (s.volume.specs / ".opeva").write_text("another volume\n")
    s.wait(90)
    assert (s.phase("a"), s.phase("b")) == ("Running Running", "Running Running")
    shutil.rmtree(s.volume.specs, ignore_errors=True)
    away.rename(s.volume.specs)
    s.wait(60)
    assert (s.phase("a"), s.phase("b"), s.engine.starts) == ("Running Running", "Running Running", ["a", "b"])


# -- outages -------------------------------------------------------------------------------------------------------


def test_an_outage_of_the_engine_changes_no_outcome(s: Simulation) -> None:
    live(s)
    s.engine.is_reachable = False
    s.finish("a", 7)
    s.wait(60)
    assert s.phase("a") == "Running Running"
    found = condition_of(s.status("a"), "EngineReachable")
    assert found is not None and found.status == "False"
    s.engine.is_reachable = True
    s.wait(6)
    assert s.phase("a") == "Failed ExitNonZero"
    assert s.status("a").status.attempts[0].exit_code == 7


def test_a_file_dropped_during_an_outage_runs_afterwards(s: Simulation) -> None:
    s.engine.is_reachable = False
    s.wait(6)
    s.drop("a")
    s.wait(10)
    assert s.phase("a") == "Queued EngineUnreachable"
    s.engine.is_reachable = True
    s.wait(6)
    assert (s.phase("a"), s.engine.starts) == ("Running Running", ["a"])


def test_an_ended_job_that_is_edited_during_an_outage_runs_afterwards(s: Simulation) -> None:
    over(s)
    s.engine.is_reachable = False
    s.wait(6)
    s.drop("a", args=["other"])
    s.wait(10)
    assert s.phase("a") == "Finished Completed"
    s.engine.is_reachable = True
    s.wait(6)
    assert (s.phase("a"), s.engine.starts) == ("Running Running", ["a", "a"])


def test_an_edit_of_a_queued_job_during_an_outage_is_not_forgotten(s: Simulation) -> None:
    s.engine.is_reachable = False
    s.wait(6)
    s.drop("a")
    s.run()
    s.drop("a", args=["other"])
    s.run()
    s.engine.is_reachable = True
    s.wait(6)
    assert (s.phase("a"), s.status("a").metadata.generation, s.engine.starts) == ("Running Running", 2, ["a"])


@pytest.mark.parametrize("call", ["create", "start", "signal", "remove", "find", "logs", "ensure_network"])
@pytest.mark.parametrize("is_reply", [False, True], ids=["never arrived", "reply lost"])
def test_a_call_that_fails_is_made_good(s: Simulation, call: str, is_reply: bool) -> None:
    s.engine.fail(call, EngineUnreachable("no answer"), lose_reply=is_reply)
    s.drop("a")
    s.run()
    s.wait(10)
    s.wish("a", "stop")
    s.wait(40)
    assert s.phase("a") == "Stopped StoppedByUser"
    assert (s.engine.starts, s.engine.host.boxes, s.engine.faults) == (["a"], {}, [])


def test_a_container_that_somebody_removed_is_lost_not_run_again(s: Simulation) -> None:
    live(s)
    s.engine.host.boxes.clear()
    s.wait(31)
    assert (s.phase("a"), s.engine.starts) == ("Failed ContainerLost", ["a"])


def test_a_strangers_container_is_left_alone(s: Simulation) -> None:
    s.engine.plant(container_name(s.engine.instance, "a"))
    s.drop("a")
    s.wait(40)
    assert s.phase("a") == "Failed NameConflict"
    assert len(s.engine.host.boxes) == 1


def test_a_restart_of_the_engine_is_told_as_such(s: Simulation) -> None:
    live(s)
    s.engine.restart()
    s.wait(10)
    assert s.phase("a") == "Failed EngineRestart"


# -- crashes -------------------------------------------------------------------------------------------------------


def _steps_of_one_run(root: Path) -> int:
    s = Simulation(root)
    before = len(s.fate.met)
    _one_run(s)
    return len(s.fate.met) - before


def _one_run(s: Simulation) -> None:
    s.engine.runs["a"] = FakeRun(run_for=3, exit_code=4, output=b"one\ntwo\n")
    s.drop("a", config={"steps": 1})
    s.run()
    s.wait(6)


def test_a_crash_at_any_step_of_a_run_costs_nothing(tmp_path: Path) -> None:
    steps = _steps_of_one_run(tmp_path / "whole")
    assert steps > 40
    for step in range(1, steps + 1):
        s = Simulation(tmp_path / str(step))
        s.crash_at(step)
        _one_run(s)
        s.wait(35)
        assert s.crashes == 1, f"no crash at step {step}"
        assert s.phase("a") == "Failed ExitNonZero", s.fate.met[-5:]
        assert s.status("a").status.attempts[0].exit_code == 4
        assert (s.engine.starts, s.engine.host.boxes, s.engine.faults) == (["a"], {}, [])
        assert s.log("a") == "one\ntwo\n"


def test_a_crash_at_any_step_of_a_delete_leaves_nothing(tmp_path: Path) -> None:
    for step in range(1, 60):
        s = Simulation(tmp_path / str(step))
        s.drop("a", file="api/a.yaml")
        s.run()
        s.finish("a")
        s.wait(1)
        s.crash_at(step)
        s.wish("a", "delete")
        s.wait(70)
        assert (s.phase("a"), s.engine.starts) == ("-", ["a"]), f"step {step}: {s.fate.met[-5:]}"
        assert not (s.volume.specs / "api" / "a.yaml").exists()
        assert not (s.volume.jobs / "a").exists()


def test_a_crash_at_any_step_of_a_stop_is_a_stop(tmp_path: Path) -> None:
    for step in range(1, 60):
        s = Simulation(tmp_path / str(step))
        live(s)
        s.crash_at(step)
        s.wish("a", "stop")
        s.wait(40)
        assert (s.phase("a"), s.engine.starts) == ("Stopped StoppedByUser", ["a"]), f"step {step}"


def test_a_crash_at_any_step_of_showing_an_earlier_run_again_mixes_no_files(tmp_path: Path) -> None:
    for step in range(1, 40):
        s = Simulation(tmp_path / str(step))
        over(s)
        (s.volume.jobs / "a" / "results" / "result.json").write_text("first")
        s.drop("a", args=["other"])
        s.run()
        s.finish("a")
        s.wait(1)
        (s.volume.jobs / "a" / "results" / "result.json").write_text("second")
        s.crash_at(step)
        s.drop("a")
        s.wait(40)
        assert s.status("a").metadata.generation == 1
        assert (s.volume.jobs / "a" / "results" / "result.json").read_text() == "first", f"step {step}"
        second = s.volume.jobs / "a" / "attempts" / "2-1" / "results" / "result.json"
        assert second.read_text() == "second", f"step {step}"


# -- what is lost --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["queued", "live", "ended"])
def test_a_lost_status_is_rebuilt_and_nothing_runs_twice(s: Simulation, state: str) -> None:
    {"queued": queued, "live": live, "ended": over}[state](s, "b")
    before = s.phase("b")
    for path in s.volume.status.glob("*.json"):
        path.unlink()
    s.restart()
    s.wait(40)
    assert s.phase("b") == before
    assert len(s.engine.starts) == len(set(s.engine.starts))


def test_a_damaged_status_is_rebuilt(s: Simulation) -> None:
    over(s, exit_code=9)
    (s.volume.status / "a.json").write_text('{"torn')
    s.restart()
    s.wait(10)
    assert (s.phase("a"), s.engine.starts) == ("Failed ExitNonZero", ["a"])


def test_two_volumes_on_one_engine_never_touch_each_other(s: Simulation, tmp_path: Path) -> None:
    live(s)
    other = Simulation(tmp_path / "second", beside=s)
    other.drop("a")
    other.run()
    other.wish("a", "stop")
    other.wait(40)
    assert (other.phase("a"), s.phase("a")) == ("Stopped StoppedByUser", "Running Running")
    s.wait(40)
    assert s.phase("a") == "Running Running"
    assert (s.engine.faults, other.engine.faults) == ([], [])


@pytest.mark.parametrize("number", range(1, 5))
def test_an_event_torn_by_a_crash_does_not_take_the_next_one_with_it(s: Simulation, number: int) -> None:
    step, torn = s.fate.step, list[str]()

    def tear(what: str) -> None:
        step(what)
        if what == "amid append state/jobs/a/events.jsonl":
            torn.append(what)
            if len(torn) == number:
                raise Crash(what)

    s.fate.step = tear  # type: ignore[method-assign]
    _one_run(s)
    s.wait(35)
    assert s.crashes == 1
    (s.volume.status / "a.json").unlink()
    s.restart()
    s.wait(35)
    assert s.phase("a") == "Failed ExitNonZero"
    assert (s.status("a").status.attempts[0].exit_code, s.engine.starts) == (4, ["a"])
