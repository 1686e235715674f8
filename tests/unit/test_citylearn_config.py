"""What the example simulator reads: its config, and the data set it changes."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "citylearn"
sys.path.insert(0, str(EXAMPLE))

from citylearn_job.agents import choose  # noqa: E402
from citylearn_job.config import Config, parse_config, read_config  # noqa: E402
from citylearn_job.dataset import adapt, schema_path  # noqa: E402
from citylearn_job.section import ConfigError  # noqa: E402

OLD_CONFIG = """
metadata: {experiment_name: test, run_name: run-1}
experiment:
  name: test
  run_name: null
  logging: {log_dir: ./logs, mlflow: true, log_level: debug, mlflow_uri: "http://mlflow:5000"}
simulator:
  dataset_name: x
  dataset_path: ./datasets/mine/schema.json
  central_agent: false
  reward_function: RewardFunction
  episodes: 3
  simulation_end_time_step: 48
  export: {session: s}
algorithm:
  name: BasicRBC
  hyperparameters: {target_update_interval: 2, checkpoint_interval: 100}
  networks: {actor: {class: Actor}}
"""


def config_with(**sections: Any) -> Config:
    """A valid config, with these sections instead of its own."""
    simulator = {"dataset_path": "citylearn_challenge_2022_phase_1"}
    return parse_config(json.dumps({"simulator": simulator, "algorithm": {"name": "BasicRBC"}} | sections))


def test_a_config_of_the_old_shape_is_read_and_its_other_keys_are_left_alone() -> None:
    config = parse_config(OLD_CONFIG)
    assert (config.experiment.name, config.experiment.run_name) == ("test", None)
    assert config.experiment.log_level == "DEBUG"
    assert config.simulator.dataset_path == "./datasets/mine/schema.json"
    assert (config.simulator.episodes, config.simulator.end_time_step) == (3, 48)
    assert config.simulator.central_agent is False
    assert choose(config.algorithm).unused == ("checkpoint_interval", "target_update_interval")


def test_what_a_config_leaves_out_is_left_to_the_data_set() -> None:
    config = config_with()
    assert config.experiment.name == "citylearn"
    assert config.simulator.central_agent is None
    assert config.simulator.reward_function is None
    assert (config.simulator.episodes, config.simulator.step_delay_seconds) == (1, 0.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("", "write a mapping", id="an empty file"),
        pytest.param("- a\n", "write a mapping", id="a list"),
        pytest.param("a: [}", "line 1, column 5", id="broken YAML"),
        pytest.param("a: 2024-13-45", "cannot read the YAML", id="an impossible date"),
        pytest.param("[" * 5000, "cannot read the YAML", id="nested beyond reason"),
        pytest.param("simulator: 3", "simulator: write a mapping", id="a number for a section"),
        pytest.param("algorithm: {name: BasicRBC}", "without simulator.dataset_path", id="no data set"),
        pytest.param("simulator: {dataset_path: a}", "without algorithm.name", id="no algorithm"),
        pytest.param(
            "simulator: {dataset_path: 7}", "cannot use 7 as simulator.dataset_path", id="a number for a name"
        ),
        pytest.param("simulator: {dataset_path: a, episodes: 0}", "whole number from 1", id="no episode"),
        pytest.param("simulator: {dataset_path: a, episodes: yes}", "whole number from 1", id="yes is not 1"),
        pytest.param("simulator: {dataset_path: a, episodes: 1.5}", "whole number from 1", id="half an episode"),
        pytest.param("simulator: {dataset_path: a, central_agent: 1}", "true or false", id="1 is not true"),
        pytest.param("simulator: {dataset_path: a, step_delay_seconds: .nan}", "a number", id="not a number"),
        pytest.param("simulator: {dataset_path: a, step_delay_seconds: -1}", "a number from 0", id="negative delay"),
        pytest.param(
            "simulator: {dataset_path: a, step_delay_seconds: 1" + "0" * 400 + "}", "a number", id="beyond floats"
        ),
        pytest.param(
            "simulator: {dataset_path: a, simulation_start_time_step: 9, simulation_end_time_step: 9}",
            "cannot simulate from step 9 to step 9",
            id="no span",
        ),
        pytest.param(
            "simulator: {dataset_path: a, reward_function: V2GPenaltyReward}",
            "this image knows IndependentSACReward",
            id="a reward of another image",
        ),
        pytest.param(
            "{simulator: {dataset_path: a}, algorithm: {name: basicrbc}}", "did you mean BasicRBC?", id="case"
        ),
        pytest.param(
            "{simulator: {dataset_path: a}, experiment: {logging: {log_level: loud}}}", "write DEBUG", id="log level"
        ),
    ],
)
def test_a_bad_config_is_told_in_one_sentence(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_config(text)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "hyperparameters",
    [
        pytest.param({"learning_rate": "fast"}, id="a word for a number"),
        pytest.param({"random_seed": 1.5}, id="half a seed"),
        pytest.param({"observations": "hour"}, id="a word for a list"),
        pytest.param({"observation_bins": {"hour": 0}}, id="no bins"),
        pytest.param({"action_bins": 1}, id="one action is no choice"),
    ],
)
def test_a_hyperparameter_it_cannot_use_is_named(hyperparameters: dict[str, Any]) -> None:
    config = config_with(algorithm={"name": "TabularQLearning", "hyperparameters": hyperparameters})
    with pytest.raises(ConfigError, match=f"algorithm.hyperparameters.{next(iter(hyperparameters))}"):
        choose(config.algorithm)


def test_a_missing_config_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the config file .*gone.yaml: No such file"):
        read_config(tmp_path / "gone.yaml")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"cannot read the config file"):
        read_config(tmp_path / "x.yaml")


def test_every_ready_config_can_be_used() -> None:
    paths = sorted((ROOT / "examples" / "configs").glob("*.yaml"))
    assert len(paths) >= 3
    assert {choose(read_config(path).algorithm).name for path in paths} >= {
        "BasicRBC",
        "OptimizedRBC",
        "TabularQLearning",
    }


def test_every_config_inside_a_ready_spec_can_be_used() -> None:
    specs = [
        document["spec"]
        for path in (ROOT / "examples" / "specs").glob("*.yaml")
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]
    inline = [spec["config"] for spec in specs if "config" in spec]
    assert len(inline) >= 4
    for config in inline:
        choose(parse_config(json.dumps(config)).algorithm)


def schema() -> dict[str, Any]:
    return {
        "central_agent": False,
        "simulation_start_time_step": 0,
        "simulation_end_time_step": 8759,
        "observations": {"hour": {"active": False}, "month": {"active": True}},
        "buildings": {"Building_1": {}},
        "reward_function": {"type": "citylearn.reward_function.MARL"},
    }


def test_the_config_changes_a_copy_of_the_schema() -> None:
    wishes = {"dataset_path": "x", "central_agent": True, "simulation_end_time_step": 9, "reward_function": "MARL"}
    found = schema()
    adapted = adapt(found, config_with(simulator=wishes).simulator, None)
    assert found == schema()
    assert (adapted["central_agent"], adapted["simulation_end_time_step"]) == (True, 9)
    assert adapted["observations"] == {"hour": {"active": True}, "month": {"active": True}}


def test_a_tabular_agent_observes_what_it_asked_for_and_nothing_else() -> None:
    adapted = adapt(schema(), config_with().simulator, ("hour",))
    assert adapted["observations"] == {"hour": {"active": True}, "month": {"active": False}}


@pytest.mark.parametrize(
    ("change", "observations", "told"),
    [
        pytest.param({}, ("hours",), "did you mean hour?", id="no such observation"),
        pytest.param({"observations": None}, None, "a CityLearn schema has", id="not a schema"),
        pytest.param({"simulation_end_time_step": 0}, None, "the end must be larger", id="no span"),
    ],
)
def test_a_schema_that_does_not_fit_is_refused(change: Any, observations: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        adapt(schema() | change, config_with().simulator, observations)


def test_a_data_set_path_is_taken_from_the_volume(tmp_path: Path) -> None:
    (tmp_path / "datasets" / "mine").mkdir(parents=True)
    file = tmp_path / "datasets" / "mine" / "schema.json"
    file.write_text("{}")
    written = ("./datasets/mine/schema.json", "datasets/mine", str(file))
    assert {found.resolve() for way in written if (found := schema_path(way, tmp_path))} == {file.resolve()}
    assert schema_path("datasets/other", tmp_path) is None
