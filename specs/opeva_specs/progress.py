"""What a job says of its progress, read with care: the file may be torn, hold NaN, or count in one of several ways."""

import math
from collections.abc import Mapping
from typing import Any

_STEPS = (("global_step", "global_step_total"), ("step", "total"), ("step", "total_steps"), ("current", "total"))
_PERCENTS = ("progress_pct", "percent", "progress_percent")
_FRACTIONS = ("progress", "completion")


def percent_of(progress: Mapping[str, Any]) -> float:
    """How far the job says it is, from 0 to 100: by its step totals if it has any, else by the figure it gives."""
    found = _by_steps(progress)
    if found is None:
        found = next((n for key in _PERCENTS if (n := finite(progress.get(key))) is not None), None)
    if found is None:
        parts = (n for key in _FRACTIONS if (n := finite(progress.get(key))) is not None)
        found = next((n * 100 if n <= 1 else n for n in parts), 0.0)
    return round(min(max(0.0, found), 100.0), 4)  # in this order: of two infinite counts nothing is known, so 0


def finite(value: Any) -> float | None:
    """The number, or None when it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _by_steps(progress: Mapping[str, Any]) -> float | None:
    for done_key, total_key in _STEPS:
        done, total = finite(progress.get(done_key)), finite(progress.get(total_key))
        if done is not None and total is not None and total > 0:
            return 100 * done / total
    names = ("episode_current", "episode_total", "step_current", "step_total")
    episode, episodes, step, steps = (finite(progress.get(name)) for name in names)
    if step is None or steps is None or steps <= 0:
        return None
    if episode is None or episodes is None or episodes <= 0:
        return 100 * step / steps
    return 100 * ((max(episode, 1) - 1) * steps + step) / (episodes * steps)
