"""Figures: a name, samples summed up, a target, and whether it is met; as a table and as JSON."""

import math
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number; `target` is the most it may be, or the least if `more_is_better`; None: only told."""

    name: str
    value: float
    unit: str
    target: float | None = None
    more_is_better: bool = False
    samples: int = 1
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """`met`, `not met`, or nothing where there is no target."""
        if self.target is None:
            return ""
        is_met = self.value >= self.target if self.more_is_better else self.value <= self.target
        return "met" if is_met else "not met"

    def as_dict(self) -> dict[str, Any]:
        """The figure for programs."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**found, "verdict": self.verdict or None}


def median_of(name: str, samples: Sequence[float], unit: str, **more: Any) -> Figure:
    """The median of samples, with their quartiles."""
    return Figure(
        name=name,
        value=statistics.median(samples),
        unit=unit,
        samples=len(samples),
        low=quantile(samples, 0.25),
        high=quantile(samples, 0.75),
        **more,
    )


def quantile_of(name: str, samples: Sequence[float], share: float, unit: str, **more: Any) -> Figure:
    """The sample that a share of all samples do not exceed, with the least and the greatest."""
    value = quantile(samples, share)
    return Figure(name=name, value=value, unit=unit, samples=len(samples), low=min(samples), high=max(samples), **more)


def quantile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least that share of all samples do not exceed."""
    if not samples:
        raise ValueError("cannot sum up samples: there are none")
    return sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]


def surroundings(engine_version: str, sync_ms: float) -> dict[str, Any]:
    """What the figures depend on beside the code."""
    return {
        "cpus": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "kernel": platform.release(),
        "python": platform.python_version(),
        "engine": engine_version,
        "fsync_ms": round(sync_ms, 3),
    }


def show(figures: Iterable[Figure], console: Console) -> None:
    """Print the table."""
    table = Table("figure", "value", "spread", "samples", "target", "", "note")
    for figure in figures:
        table.add_row(
            figure.name,
            _amount(figure.value, figure.unit),
            _spread(figure),
            str(figure.samples),
            _target(figure),
            _coloured(figure.verdict),
            figure.note,
        )
    console.print(table)


def _amount(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2
    return f"{value:.{digits}f} {unit}".rstrip()


def _spread(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f"{_amount(figure.low, '')} … {_amount(figure.high, '')}"


def _target(figure: Figure) -> str:
    if figure.target is None:
        return ""
    return f"{'≥' if figure.more_is_better else '≤'} {figure.target:g} {figure.unit}".rstrip()


def _coloured(verdict: str) -> str:
    colour = {"met": "green", "not met": "red"}.get(verdict)
    return f"[{colour}]{verdict}[/{colour}]" if colour else ""
