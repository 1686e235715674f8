"""Key figures of a run, in a shape that no client stumbles over."""

import math
from collections.abc import Iterable

Kpis = dict[str, dict[str, float]]

DECIMALS = 6


def kpis(rows: Iterable[tuple[object, object, object]]) -> Kpis:
    """Returns {building: {cost function: number}} of (name, cost function, value) rows, without empty cells."""
    figures: Kpis = {}
    for name, cost_function, value in rows:
        number = _number(value)
        if number is not None:
            figures.setdefault(str(name), {})[str(cost_function)] = round(number, DECIMALS)
    return figures


def _number(value: object) -> float | None:
    """Returns the finite number, None for what JSON or a client cannot take: NaN, infinity, nothing."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
