"""The operator's clock: right when it starts, and from then on only forwards, a second per second.

Somebody who sets the host's clock must not make deadlines fire, or files expire, before their time.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


def wall_now() -> datetime:
    """The host's clock, which may jump."""
    return datetime.now(UTC)


def boot_seconds() -> float:
    """Seconds since the host was started, those counted in which it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SteadyClock:
    """Starts at the wall's time and never jumps."""

    def __init__(self, wall: Callable[[], datetime] = wall_now, elapsed: Callable[[], float] = boot_seconds) -> None:
        self._elapsed = elapsed
        self._start = wall() - timedelta(seconds=elapsed())

    def __call__(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed())
