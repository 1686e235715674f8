"""Who may start now: pure. First in, first out, up to a number of jobs at once."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from datetime import datetime

Place = tuple[datetime, str]  # since when a job is queued, and its name


def admitted(queue: Sequence[Place], occupied: int, limit: int) -> list[str]:
    """Names that may start now, from a queue in order; jobs that wait for something else are not in it."""
    return [name for _, name in queue[: max(0, limit - occupied)]]


def in_order(places: Iterable[Place]) -> list[Place]:
    """The queue, head first: by the time of queueing, then by name."""
    return sorted(places)


def join(queue: list[Place], place: Place) -> None:
    """Put a job where it belongs in an ordered queue; once."""
    at = bisect_left(queue, place)
    if queue[at : at + 1] != [place]:
        insort(queue, place)


def leave(queue: list[Place], place: Place) -> None:
    """Take a job out of an ordered queue; fine if it is not in it."""
    at = bisect_left(queue, place)
    if queue[at : at + 1] == [place]:
        del queue[at]


def position(queue: Sequence[Place], place: Place) -> int:
    """How many are ahead, plus one."""
    return bisect_left(queue, place) + 1
