"""The example simulator at work: its steps, and the whole script with a stand-in for CityLearn."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "citylearn"
sys.path.insert(0, str(EXAMPLE))

from citylearn_job.progress import Progress  # noqa: E402
from citylearn_job.section import ConfigError  # noqa: E402
from citylearn_job.simulation import simulate  # noqa: E402
from citylearn_job.tabular import Bins, Grid, Table, TabularWorld  # noqa: E402


class CountingWorld:
    """Three steps; each costs every agent the sum of the actions."""

    def __init__(self) -> None:
        self.time_steps = 4
        self.observation_names = [["hour"], ["hour"]]
        self.observation_space = [SimpleNamespace(low=[1.0], high=[24.0])] * 2
        self.action_space = [SimpleNamespace(low=[-1.0], high=[1.0])] * 2
        self.taken: list[Any] = []
        self.done = False

    def reset(self) -> list[list[float]]:
        self.done, self.taken = False, []
        return [[1.0], [1.0]]

    def step(self, actions: Any) -> tuple[list[list[float]], list[float], bool, dict[str, Any]]:
        self.taken.append(actions)
        self.done = len(self.taken) == self.time_steps - 1
        hour = float(len(self.taken) + 1)
        return [[hour], [hour]], [-sum(map(sum, actions)), -1.0], self.done, {}


class RecordingAgent:
    """Does the same thing always, and remembers what it was told."""

    def __init__(self, action: Any) -> None:
        self.action = action
        self.told: list[Any] = []

    def predict(self, observations: Any) -> Any:
        return self.action

    def update(self, *moment: Any, done: bool) -> None:
        self.told.append((*moment, done))


def test_each_step_of_each_episode_is_told() -> None:
    told: list[Progress] = []
    agent = RecordingAgent([[0.5], [0.5]])
    simulate(agent, CountingWorld(), 2, 0.0, told.append)
    assert [(p.episode, p.step, p.reward) for p in told] == [
        (episode, step, -2.0 * step) for episode in (1, 2) for step in (1, 2, 3)
    ]
    assert told[-1].percent == 100
    assert [moment[-1] for moment in agent.told] == [False, False, True] * 2
    assert agent.told[1][0] == agent.told[0][3] == [[2.0], [2.0]]


def bins(**wishes: Any) -> Bins:
    usual: dict[str, Any] = {"observations": ("hour",), "by_observation": {}, "action": 5, "seed": 1}
    return Bins(**(usual | wishes))


def test_a_tabular_agent_sees_cells_and_moves_levels() -> None:
    inner = CountingWorld()
    world = TabularWorld(inner, bins())
    assert world.reset() == [[0], [0]]
    observations, rewards, _, _ = world.step([[0], [4]])
    assert inner.taken == [[[-1.0], [1.0]]]
    assert (observations, rewards, world.time_steps) == ([[1], [1]], [0.0, -1.0], 4)


def test_a_table_too_large_for_memory_is_refused_before_it_is_made() -> None:
    with pytest.raises(ConfigError, match="use fewer"):
        TabularWorld(CountingWorld(), bins(by_observation={"hour": 10**9}))


def test_every_hour_has_a_cell_of_its_own() -> None:
    grid = Grid(low=1, high=24, bins=24)
    assert [grid.cell(hour) for hour in range(1, 25)] == list(range(24))
    assert (grid.cell(-5), grid.cell(99)) == (0, 23)


def test_a_cell_of_several_axes_can_be_taken_apart_again() -> None:
    grids = [Grid(low=-1, high=1, bins=3), Grid(low=0, high=9, bins=10), Grid(low=2, high=2, bins=1)]
    table = Table(grids, random.Random(1))
    assert table.n == 30
    assert {table.cell(table.levels(cell)) for cell in range(table.n)} == set(range(30))
    assert table.levels(0) == [-1, 0, 2]


def test_the_same_seed_makes_the_same_choices() -> None:
    def drawn(seed: int) -> list[int]:
        world = TabularWorld(CountingWorld(), bins(seed=seed, action=1000))
        return [space.sample() for space in world.action_space for _ in range(5)]

    assert drawn(3) == drawn(3) != drawn(4)


STAND_IN = {
    "__init__.py": "",
    "data.py": """
class DataSet:
    @staticmethod
    def get_names():
        return ["tiny"]

    @staticmethod
    def get_schema(name):
        return {"observations": {"hour": {"active": True}}, "buildings": {"B": {}},
                "simulation_start_time_step": 0, "simulation_end_time_step": 9}
""",
    "citylearn.py": """
from types import SimpleNamespace

class CityLearnEnv:
    def __init__(self, schema):
        self.time_steps = schema["simulation_end_time_step"] + 1
        self.simulation_start_time_step = 0
        self.simulation_end_time_step = self.time_steps - 1
        self.buildings = [SimpleNamespace(energy_simulation=SimpleNamespace(hour=range(1000)))]

    def reset(self):
        self.now = 0
        return [[1]]

    @property
    def done(self):
        return self.now == self.time_steps - 1

    def step(self, actions):
        self.now += 1
        return [[1]], [-1.0], self.done, {}

    def evaluate(self):
        return {"name": ["B", "B"], "cost_function": ["cost", "ramping"], "value": [0.5, float("nan")]}
""",
    "agents/__init__.py": "",
    "agents/rbc.py": """
class BasicRBC:
    def __init__(self, env):
        pass

    def predict(self, observations):
        return [[0.0]]

    def update(self, *moment, done):
        pass

class OptimizedRBC(BasicRBC):
    def predict(self, observations):
        raise KeyError("hour")
""",
}

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts the script on a config, with the stand-in and a volume of its own."""
    for name, text in STAND_IN.items():
        file = tmp_path / "stand_in" / "citylearn" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "OPEVA_"))}
    env |= {"PYTHONPATH": str(tmp_path / "stand_in"), "OPEVA_BASE_DIR": str(tmp_path)}

    def started(simulator: dict[str, Any], agent: str = "BasicRBC", *more: str) -> subprocess.Popen[str]:
        config = tmp_path / "config.yaml"
        config.write_text(json.dumps({"simulator": {"dataset_path": "tiny"} | simulator, "algorithm": {"name": agent}}))
        command = [sys.executable, str(EXAMPLE / "run_experiment.py"), "--config", str(config)]
        return subprocess.Popen([*command, *(more or ("--job_id", "a"))], env=env, stderr=subprocess.PIPE, text=True)

    return started


def told_progress(base: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((base / "jobs" / "a" / "progress" / "progress.json").read_text())
    return told


@pytest.mark.parametrize("spelling", ["--job_id", "--job-id"])
def test_a_run_ends_with_0_and_its_files_tell_so(tmp_path: Path, start: Start, spelling: str) -> None:
    process = start({"episodes": 2}, "BasicRBC", spelling, "a")
    assert (process.communicate(timeout=60)[1], process.returncode) == ("", 0)
    assert json.loads((tmp_path / "jobs/a/results/result.json").read_text()) == {"B": {"cost": 0.5}}
    told = told_progress(tmp_path)
    assert (told["status"], told["step"], told["total"], told["reward"]) == ("completed", 18, 18, -9.0)
    assert "finished" in (tmp_path / "jobs/a/logs/a.log").read_text()


@pytest.mark.parametrize(
    ("simulator", "agent", "told"),
    [
        pytest.param({"dataset_path": "tinny"}, "BasicRBC", "did you mean tiny?", id="no such data set"),
        pytest.param({"episodes": "all"}, "BasicRBC", "simulator.episodes", id="a bad value"),
        pytest.param({"simulation_end_time_step": 5000}, "BasicRBC", "ends at step 999", id="beyond the data"),
        pytest.param({}, "OptimizedRBC", "KeyError: 'hour'", id="an error nobody thought of"),
    ],
)
def test_a_failed_run_ends_with_1_and_one_readable_line(
    tmp_path: Path, start: Start, simulator: dict[str, Any], agent: str, told: str
) -> None:
    process = start(simulator, agent)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert stderr.startswith("error: cannot ") or "config.yaml: cannot" in stderr
    assert told in stderr
    assert stderr.count("\n") == 1
    assert told in (tmp_path / "jobs/a/logs/a.log").read_text()
    assert (told_progress(tmp_path)["status"], told in told_progress(tmp_path)["error"]) == ("failed", True)
    assert not (tmp_path / "jobs/a/results/result.json").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("--job_id", "../a"), id="a job id that is a path"),
        pytest.param(("--job_id", "a", "--jobs", "2"), id="an unknown argument"),
        pytest.param(("--base-dir", "/tmp"), id="no job id"),
    ],
)
def test_bad_arguments_end_with_2(start: Start, arguments: tuple[str, ...]) -> None:
    process = start({}, "BasicRBC", *arguments)
    assert "error:" in process.communicate(timeout=60)[1]
    assert process.returncode == 2


def test_a_stopped_run_ends_with_143_at_once_and_looks_stopped(tmp_path: Path, start: Start) -> None:
    process = start({"step_delay_seconds": 30})
    path = tmp_path / "jobs/a/progress/progress.json"
    deadline = time.monotonic() + 60
    while not path.exists() or told_progress(tmp_path)["status"] != "running":
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    asked_at = time.monotonic()
    process.send_signal(signal.SIGTERM)
    stderr = process.communicate(timeout=60)[1]
    assert (process.returncode, stderr) == (143, "warning: stopped by SIGTERM at step 1\n")
    assert time.monotonic() - asked_at < 5
    assert told_progress(tmp_path)["status"] == "stopped"
    assert not (tmp_path / "jobs/a/results/result.json").exists()
