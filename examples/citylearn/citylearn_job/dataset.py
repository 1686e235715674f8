"""A CityLearn data set, bundled or on the volume, changed as the config asks."""

import copy
import importlib
import json
from pathlib import Path
from typing import Any

from citylearn_job.config import Simulator
from citylearn_job.section import ConfigError, hint

Schema = dict[str, Any]


def open_world(simulator: Simulator, base: Path, observations: tuple[str, ...] | None) -> Any:
    """Returns the CityLearn world of this config; raises ConfigError when the data set does not fit."""
    schema = adapt(read_schema(simulator.dataset_path, base), simulator, observations)
    try:
        world = importlib.import_module("citylearn.citylearn").CityLearnEnv(schema)
    except (ArithmeticError, AttributeError, ImportError, LookupError, OSError, TypeError, ValueError) as error:
        reason = f"its schema has no {error}" if isinstance(error, KeyError) else str(error)
        raise ConfigError(f"cannot load the data set {simulator.dataset_path}: {reason:.300}") from error
    available = min(len(building.energy_simulation.hour) for building in world.buildings)
    if available < world.time_steps:
        last = world.simulation_start_time_step + available - 1
        raise ConfigError(
            f"cannot simulate to step {world.simulation_end_time_step}: "
            f"{simulator.dataset_path} ends at step {last}, lower simulator.simulation_end_time_step"
        )
    return world


def read_schema(dataset: str, base: Path) -> Schema:
    """Returns the schema of a bundled data set by name, or of a schema.json by path."""
    bundled = importlib.import_module("citylearn.data").DataSet
    names = bundled.get_names()
    if dataset in names:
        return dict(bundled.get_schema(dataset))
    path = schema_path(dataset, base)
    if path is None:
        raise ConfigError(f"cannot find the data set {dataset!r}: {hint(dataset, names)}, or write a path")
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"cannot read the data set {path}: {error!s:.300}") from error
    if not isinstance(schema, dict):
        raise ConfigError(f"cannot read the data set {path}: it is not a CityLearn schema")
    schema["root_directory"] = schema.get("root_directory") or str(path.parent)
    return schema


def schema_path(dataset: str, base: Path) -> Path | None:
    """Returns the schema file that this path means, taken relative to the shared volume."""
    path = base / dataset
    if path.is_dir():
        path /= "schema.json"
    return path if path.is_file() else None


def adapt(schema: Schema, simulator: Simulator, observations: tuple[str, ...] | None) -> Schema:
    """Returns a copy of the schema with the config's wishes in it; None observations means its own."""
    adapted = copy.deepcopy(schema)
    wishes = {
        "central_agent": simulator.central_agent,
        "simulation_start_time_step": simulator.start_time_step,
        "simulation_end_time_step": simulator.end_time_step,
    }
    adapted |= {key: wish for key, wish in wishes.items() if wish is not None}
    if simulator.reward_function is not None:
        adapted["reward_function"] = {"type": f"citylearn.reward_function.{simulator.reward_function}"}
    known = adapted.get("observations")
    if not isinstance(known, dict) or not isinstance(adapted.get("buildings"), dict):
        raise ConfigError(f"cannot use {simulator.dataset_path}: a CityLearn schema has observations and buildings")
    _choose(known, observations, simulator.dataset_path)
    _check_span(adapted, simulator.dataset_path)
    return adapted


def _choose(known: dict[str, dict[str, Any]], wanted: tuple[str, ...] | None, dataset: str) -> None:
    """Switches observations on and off in place; rule-based agents always need the hour."""
    for name in wanted or ("hour",):
        if name not in known:
            raise ConfigError(f"cannot observe {name!r} in {dataset}: {hint(name, known)}")
        known[name]["active"] = True
    if wanted is not None:
        for name in known.keys() - set(wanted):
            known[name]["active"] = False


def _check_span(schema: Schema, dataset: str) -> None:
    start, end = schema.get("simulation_start_time_step"), schema.get("simulation_end_time_step")
    if not isinstance(start, int) or not isinstance(end, int) or end <= start:
        raise ConfigError(f"cannot simulate {dataset} from step {start} to step {end}: the end must be larger")
