"""A continuous world seen through a grid, for agents that learn a table.

CityLearn's own wrappers do this too, but they list every combination of cells and need an older gym.
"""

import itertools
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from citylearn_job.section import ConfigError, Section

BIN_KEYS = ("action_bins", "observation_bins", "observations")
DEFAULT_OBSERVATIONS = ("hour",)
DEFAULT_BINS = {"hour": 24}
OTHER_BINS = 10
ACTION_BINS = 11  # odd, so that one of the levels is "do nothing"
MAX_CELLS = 2_000_000  # three tables of 8-byte numbers: 48 MB for each agent


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """One axis, cut into numbered cells."""

    low: float
    high: float
    bins: int

    def cell(self, value: float) -> int:
        """Returns the cell that holds the value; what lies outside belongs to the nearest one."""
        if not self.low < self.high:
            return 0
        share = (value - self.low) / (self.high - self.low)
        return min(self.bins - 1, max(0, math.floor(share * self.bins)))

    def level(self, cell: int) -> float:
        """Returns the value a cell stands for; the first and last cells stand for the ends."""
        if self.bins == 1:
            return (self.low + self.high) / 2
        return self.low + (self.high - self.low) * cell / (self.bins - 1)


class Table:
    """Several axes folded into one number from 0 to n - 1."""

    def __init__(self, grids: Sequence[Grid], dice: random.Random) -> None:
        self.grids = tuple(grids)
        self.n = math.prod(grid.bins for grid in self.grids)
        self._dice = dice

    def cell(self, values: Sequence[float]) -> int:
        """Returns the number of the cell that holds these values, one for each axis."""
        number = 0
        for grid, value in zip(self.grids, values, strict=True):
            number = number * grid.bins + grid.cell(value)
        return number

    def levels(self, cell: int) -> list[float]:
        """Returns the values that a cell stands for, one for each axis."""
        levels = []
        for grid in reversed(self.grids):
            cell, position = divmod(cell, grid.bins)
            levels.append(grid.level(position))
        return levels[::-1]

    def sample(self) -> int:
        """Returns a cell by chance."""
        return self._dice.randrange(self.n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """What the table distinguishes, as the hyperparameters say."""

    observations: tuple[str, ...]
    by_observation: Mapping[str, int]
    action: int
    seed: int | None

    def of(self, observation: str) -> int:
        """Returns how many cells this observation is cut into."""
        return self.by_observation.get(observation, DEFAULT_BINS.get(observation, OTHER_BINS))


def read_bins(section: Section) -> Bins:
    """Returns the grid that these hyperparameters ask for."""
    found = section.values.get("observations") or list(DEFAULT_OBSERVATIONS)
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ConfigError(f"cannot use {found!r:.80} as {section.at('observations')}: write a list of names")
    by_observation = section.section("observation_bins")
    bins = {str(name): by_observation.whole(str(name), minimum=1) for name in by_observation.values}
    return Bins(
        observations=tuple(dict.fromkeys(found)),
        by_observation={name: count for name, count in bins.items() if count is not None},
        action=section.whole("action_bins", minimum=2) or ACTION_BINS,
        seed=section.whole("random_seed", minimum=0),
    )


class TabularWorld:
    """Stands before a CityLearn world and speaks in cell numbers; all else it passes on."""

    def __init__(self, world: Any, bins: Bins) -> None:
        dice = random.Random(bins.seed)
        self._world = world
        seen = zip(world.observation_names, world.observation_space, strict=True)
        self.observation_space = [Table(_grids(space, map(bins.of, names)), dice) for names, space in seen]
        levels = itertools.repeat(bins.action)
        self.action_space = [Table(_grids(space, levels), dice) for space in world.action_space]
        self._check_size()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)

    def reset(self) -> list[list[int]]:
        """Starts an episode and returns one cell for each agent."""
        return self._cells(self._world.reset())

    def step(self, actions: Sequence[Sequence[int]]) -> tuple[list[list[int]], Any, Any, Any]:
        """Takes one action cell for each agent and returns what CityLearn answers, in cells."""
        levels = [table.levels(action[0]) for table, action in zip(self.action_space, actions, strict=True)]
        observations, rewards, done, info = self._world.step(levels)
        return self._cells(observations), rewards, done, info

    def _cells(self, observations: Sequence[Sequence[float]]) -> list[list[int]]:
        return [[table.cell(o)] for table, o in zip(self.observation_space, observations, strict=True)]

    def _check_size(self) -> None:
        for seen, done in zip(self.observation_space, self.action_space, strict=True):
            if seen.n * done.n > MAX_CELLS:
                raise ConfigError(
                    f"cannot learn a table of {seen.n} observations by {done.n} actions (at most {MAX_CELLS} cells): "
                    "use fewer observations, observation_bins or action_bins, or central_agent: false"
                )


def _grids(space: Any, bins: Iterable[int]) -> list[Grid]:
    axes = zip(space.low, space.high, bins, strict=False)
    return [Grid(low=float(low), high=float(high), bins=count) for low, high, count in axes]
