"""The experiment file, read once into values that the rest of the job can trust."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from citylearn_job.section import ConfigError, Section

# The agents a config can choose from, and the CityLearn module that holds each.
AGENTS = {
    "BasicBatteryRBC": "citylearn.agents.rbc",
    "BasicRBC": "citylearn.agents.rbc",
    "OptimizedRBC": "citylearn.agents.rbc",
    "TabularQLearning": "citylearn.agents.q_learning",
}
REWARDS = ("IndependentSACReward", "MARL", "RewardFunction", "SolarPenaltyReward")
DATASET = "the name of a CityLearn data set, or the path of a schema.json"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What the run is called and how much it logs."""

    name: str
    run_name: str | None
    log_level: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulator:
    """Which data set is simulated, and how long; None leaves the choice to the data set."""

    dataset_path: str
    central_agent: bool | None
    reward_function: str | None
    episodes: int
    start_time_step: int | None
    end_time_step: int | None
    step_delay_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """Which agent controls the buildings, and its numbers."""

    name: str
    hyperparameters: Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole experiment."""

    experiment: Experiment
    simulator: Simulator
    algorithm: Algorithm


def read_config(path: Path) -> Config:
    """Returns the experiment in this YAML or JSON file; raises ConfigError when it cannot be used."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the config file {path}: {_reason(error)}") from error
    try:
        return parse_config(text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def parse_config(text: str) -> Config:
    """Returns the experiment in this YAML or JSON text; keys it does not know are left alone."""
    try:
        document = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"cannot read the YAML{_place(error)}: {error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"cannot read the YAML: {_reason(error)}") from error
    if not isinstance(document, Mapping):
        raise ConfigError("cannot use the config: write a mapping with the keys simulator and algorithm")
    root = Section("", document)
    return Config(
        experiment=_experiment(root.section("experiment")),
        simulator=_simulator(root.section("simulator")),
        algorithm=_algorithm(root.section("algorithm")),
    )


def _experiment(section: Section) -> Experiment:
    logging = section.section("logging")
    levels = {word.lower(): word for word in LOG_LEVELS}
    level = logging.text("log_level") or logging.text("level") or "INFO"
    if level.lower() not in levels:
        raise ConfigError(f"cannot use {level!r} as {logging.at('log_level')}: write {', '.join(LOG_LEVELS)}")
    return Experiment(
        name=section.text("name") or "citylearn",
        run_name=section.text("run_name"),
        log_level=levels[level.lower()],
    )


def _simulator(section: Section) -> Simulator:
    start = section.whole("simulation_start_time_step", minimum=0)
    end = section.whole("simulation_end_time_step", minimum=1)
    if end is not None and end <= (start or 0):
        raise ConfigError(
            f"cannot simulate from step {start or 0} to step {end}: "
            f"{section.at('simulation_end_time_step')} must be the larger one"
        )
    return Simulator(
        dataset_path=_needed(section.text("dataset_path"), section.at("dataset_path"), DATASET),
        central_agent=section.claim("central_agent"),
        reward_function=section.choice("reward_function", REWARDS),
        episodes=section.whole("episodes", minimum=1) or 1,
        start_time_step=start,
        end_time_step=end,
        step_delay_seconds=section.number("step_delay_seconds", minimum=0) or 0.0,
    )


def _algorithm(section: Section) -> Algorithm:
    name = _needed(section.choice("name", AGENTS), section.at("name"), f"one of {', '.join(AGENTS)}")
    return Algorithm(name=name, hyperparameters=section.section("hyperparameters"))


def _needed(found: str | None, key: str, meaning: str) -> str:
    if found is None:
        raise ConfigError(f"cannot start without {key}: write {meaning}")
    return found


def _place(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark
    return f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return " ".join(str(error).split()) or type(error).__name__
