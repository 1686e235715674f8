"""What becomes of a job when the engine answers, yet will not make or start its container."""

from pathlib import Path

import pytest
from tests.unit.simulation import Simulation

from opeva_operator.engine import EngineUnreachable


@pytest.mark.parametrize("call", ["create", "start"])
def test_an_engine_that_fails_at_one_job_for_ever_ends_it_with_the_engines_words(tmp_path: Path, call: str) -> None:
    world = Simulation(tmp_path)
    world.engine.fail(call, EngineUnreachable("server error: no space left on device"), times=1000)
    world.drop("greedy", args=["x"])
    world.run()
    world.wait(60)
    status = world.status("greedy").status
    assert (status.phase, status.reason) == ("Failed", "StartFailed")
    assert "no space left on device" in status.message
    assert world.engine.list() == []


@pytest.mark.parametrize("call", ["create", "start"])
def test_an_engine_that_fails_for_a_moment_runs_the_job_once(tmp_path: Path, call: str) -> None:
    world = Simulation(tmp_path)
    world.engine.fail(call, EngineUnreachable("server error: busy"), times=3)
    world.drop("patient", args=["x"])
    world.run()
    world.wait(60)
    assert world.phase("patient") == "Running Running"
    assert len(world.status("patient").status.attempts) == 1
