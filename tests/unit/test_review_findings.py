"""What once went wrong, found by reading: each test tells what must hold instead."""

import threading
from pathlib import Path

import pytest
from tests.unit.simulation import Simulation

from opeva_operator.testing import FakeRun
from opeva_operator.workqueue import WorkQueue


@pytest.fixture
def s(tmp_path: Path) -> Simulation:
    """A volume, an engine, an operator."""
    return Simulation(tmp_path)


def test_an_edit_taken_back_while_the_old_run_is_being_stopped_runs_it_again(s: Simulation) -> None:
    s.engine.runs["a"] = FakeRun(ignores_term=True)
    s.drop("a", args=["one"])
    s.run()
    s.drop("a", args=["two"])
    s.run()
    s.wait(7)
    assert s.phase("a") == "Stopping Superseded"
    s.drop("a", args=["one"])
    s.run()
    s.wait(60)
    assert s.is_live("a")
    assert s.status("a").metadata.generation == 2


def test_what_a_person_deleted_stays_deleted_even_if_it_ended_for_an_edit(s: Simulation) -> None:
    s.engine.runs["a"] = FakeRun(ignores_term=True)
    s.drop("a", args=["one"])
    s.run()
    s.drop("a", args=["two"])
    s.run()
    s.wait(7)
    s.wish("a", "delete")
    s.drop("a", args=["one"])
    s.run()
    s.wait(60)
    assert not s.is_live("a")
    assert s.status("a").status.hidden


def test_a_timer_is_kept_while_another_name_is_held_and_wanted_again() -> None:
    queue = WorkQueue()
    queue.add("slow")
    assert queue.get() == "slow"
    queue.add("slow")
    queue.add("timer", 0.1)
    got: list[str | None] = []
    worker = threading.Thread(target=lambda: got.append(queue.get()), daemon=True)
    worker.start()
    worker.join(2)
    assert got == ["timer"]
