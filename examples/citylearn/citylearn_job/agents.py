"""The agent that a config chooses, checked before anything slow starts."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from citylearn_job.config import AGENTS, Algorithm
from citylearn_job.tabular import BIN_KEYS, Bins, TabularWorld, read_bins

TABULAR = "TabularQLearning"
TABULAR_NUMBERS = (
    "discount_factor",
    "epsilon",
    "epsilon_decay",
    "learning_rate",
    "minimum_epsilon",
    "q_init_value",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An agent, the numbers it takes, and the grid it needs; rule-based agents take and need none."""

    name: str
    numbers: Mapping[str, float | int]
    bins: Bins | None
    unused: tuple[str, ...]


def choose(algorithm: Algorithm) -> Choice:
    """Returns the agent of this algorithm; raises ConfigError for a hyperparameter it cannot use."""
    section = algorithm.hyperparameters
    written = {str(name) for name in section.values}
    if algorithm.name != TABULAR:
        return Choice(name=algorithm.name, numbers={}, bins=None, unused=tuple(sorted(written)))
    numbers: dict[str, float | int | None] = {name: section.number(name) for name in TABULAR_NUMBERS}
    numbers["random_seed"] = section.whole("random_seed", minimum=0)
    return Choice(
        name=algorithm.name,
        numbers={name: number for name, number in numbers.items() if number is not None},
        bins=read_bins(section),
        unused=tuple(sorted(written - {*numbers, *BIN_KEYS})),
    )


def seat(choice: Choice, world: Any) -> tuple[Any, Any]:
    """Returns the agent and the world as that agent sees it."""
    seen = world if choice.bins is None else TabularWorld(world, choice.bins)
    agent_class = getattr(importlib.import_module(AGENTS[choice.name]), choice.name)
    return agent_class(seen, **choice.numbers), seen
