"""What wishes do, and raised reruns, on the whole operator with a fake engine."""

from pathlib import Path

import pytest
from tests.unit.simulation import Simulation

from opeva_operator.engine import EngineUnreachable
from opeva_operator.testing import FakeRun


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


# -- reruns and wishes ---------------------------------------------------------------------------------------------


def test_a_raised_rerun_is_a_new_generation(s: Simulation) -> None:
    over(s)
    s.drop("a", rerun=1)
    s.run()
    assert (s.status("a").metadata.generation, s.engine.starts) == (2, ["a", "a"])


def test_the_wish_to_rerun_is_a_new_generation_of_the_same_digest(s: Simulation) -> None:
    over(s)
    s.wish("a", "rerun")
    s.run()
    told = s.status("a")
    assert [g.digest for g in told.status.generations] == [told.metadata.digest] * 2
    assert (told.status.reruns, s.phase("a"), s.controls.names()) == (1, "Running Running", [])
    s.restart()
    s.wait(60)
    assert s.engine.starts == ["a", "a"]


def test_a_stop_of_what_was_not_started_cancels_it(s: Simulation) -> None:
    queued(s)
    s.wish("b", "stop", reason="wrong config")
    s.run()
    assert s.phase("b") == "Canceled StoppedByUser"
    assert s.status("b").status.message == "by ann: wrong config"
    s.wait(60)
    assert "b" not in s.engine.starts


def test_a_stop_of_what_runs_stops_it_for_good(s: Simulation) -> None:
    live(s)
    s.wish("a", "stop")
    s.run()
    assert s.phase("a") == "Stopped StoppedByUser"
    assert s.status("a").status.attempts[0].exit_code == 143
    s.restart()
    s.wait(90)
    assert s.phase("a") == "Stopped StoppedByUser"
    assert s.engine.starts == ["a"]


def test_what_ignores_the_signal_is_killed_when_its_grace_is_over(s: Simulation) -> None:
    s.engine.runs["a"] = FakeRun(ignores_term=True)
    s.drop("a", terminationGracePeriodSeconds=8)
    s.run()
    s.wish("a", "stop")
    s.wait(7)
    assert s.phase("a") == "Stopping StoppedByUser"
    s.wait(2)
    assert s.phase("a") == "Stopped StoppedByUser"
    assert s.status("a").status.attempts[0].exit_code == 137


def test_a_stop_of_an_ended_job_changes_nothing(s: Simulation) -> None:
    over(s)
    s.wish("a", "stop")
    s.wait(5)
    assert (s.phase("a"), s.controls.names()) == ("Finished Completed", [])


def test_a_wish_for_another_digest_is_dropped(s: Simulation) -> None:
    live(s)
    s.wish("a", "stop", digest="0" * 64)
    s.wait(5)
    assert (s.phase("a"), s.controls.names()) == ("Running Running", [])


def test_a_wish_for_a_name_that_comes_within_a_minute_is_granted(s: Simulation) -> None:
    s.wish("a", "stop")
    s.wait(50)
    assert s.controls.names() == ["a"]
    s.drop("a")
    s.run()
    assert s.phase("a") == "Canceled StoppedByUser"
    assert s.engine.starts == []


def test_a_wish_for_a_name_that_never_comes_is_dropped_after_a_minute(s: Simulation) -> None:
    s.wish("nobody", "stop")
    s.wait(61)
    assert s.controls.names() == []


def test_deleting_a_job_of_the_api_leaves_nothing(s: Simulation) -> None:
    s.drop("a", file="api/a.yaml")
    s.run()
    s.finish("a")
    s.wait(1)
    s.wish("a", "delete")
    s.run()
    assert s.phase("a") == "-"
    left = [path for path in s.volume.root.rglob("*") if path.name in ("a", "a.yaml", "a.json")]
    assert left == []
    s.restart()
    s.wait(90)
    assert s.phase("a") == "-"


def test_a_deleted_job_with_a_file_of_the_user_never_runs_again_until_it_is_changed(s: Simulation) -> None:
    over(s)
    s.wish("a", "delete")
    s.run()
    assert s.status("a").status.hidden
    assert not (s.volume.jobs / "a").exists()
    s.restart()
    s.wait(90)
    assert s.engine.starts == ["a"]
    s.drop("a", args=["new"])
    s.run()
    assert (s.phase("a"), s.status("a").status.hidden) == ("Running Running", False)


def test_deleting_the_file_of_the_api_does_not_run_a_second_file_of_that_name(s: Simulation) -> None:
    s.drop("a", file="api/a.yaml")
    s.run()
    s.drop("a", file="mine.yaml")
    s.finish("a")
    s.wait(1)
    s.wish("a", "delete")
    s.wait(60)
    assert s.engine.starts == ["a"]
    assert s.status("a").status.hidden


def test_a_running_job_is_ended_before_it_is_deleted(s: Simulation) -> None:
    s.drop("a", file="api/a.yaml")
    s.run()
    s.wish("a", "delete")
    s.run()
    assert s.phase("a") == "-"
    assert s.engine.host.boxes == {}


def test_a_queued_job_can_be_deleted(s: Simulation) -> None:
    queued(s)
    s.wish("b", "delete")
    s.run()
    assert s.status("b").status.hidden


def test_a_delete_waits_for_the_engine_so_that_no_container_brings_the_job_back(s: Simulation) -> None:
    s.drop("a", file="api/a.yaml")
    s.run()
    s.engine.fail("remove", EngineUnreachable("no answer"), times=1)
    s.finish("a")
    s.run()
    s.engine.is_reachable = False
    s.wish("a", "delete")
    s.wait(10)
    assert s.phase("a") == "Finished Completed"
    s.engine.is_reachable = True
    s.wait(60)
    assert (s.phase("a"), s.engine.host.boxes) == ("-", {})


def test_a_wish_that_is_made_while_another_is_being_recorded_is_not_lost(s: Simulation) -> None:
    over(s)
    step, made = s.fate.step, list[str]()

    def meddle(what: str) -> None:
        step(what)
        if what == "after write status/a.json" and not made:
            made.append(what)
            s.wish("a", "rerun")

    s.fate.step = meddle  # type: ignore[method-assign]
    s.wish("a", "rerun")
    s.wait(10)
    assert made
    assert (s.status("a").status.reruns, s.controls.names()) == (2, [])
