"""How far an attempt is, and when it may be done: pure. From one reading to the next, never falling, no wild guess.

The pace is that of the newest stretch of the run, not of all of it: what it took to start says nothing about the rest.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from opeva_specs.terms import Progress

ALMOST = 99.9  # 100 is said of finished jobs only
EXPORTING = 99.5  # a simulator has simulated all by then, and writes what came of it
LEAST_GAIN = 1.0  # percent; from less, nothing is guessed
_SPACING = 0.1  # percent between two marks
_STRETCH = 10.0  # percent; what lies further back says nothing about the rest
_LONGEST = timedelta(days=366)  # who is said to need longer than that is not moving


@dataclass(frozen=True, slots=True)
class Mark:
    """A percentage that was reached, and when."""

    at: datetime
    percent: float


@dataclass(frozen=True, slots=True)
class Pace:
    """What is told of an attempt's progress, and the marks that it passed last."""

    told: Progress | None = None
    marks: tuple[Mark, ...] = ()


def read(pace: Pace, percent: float, at: datetime, *, is_starting: bool = False) -> Pace:
    """With a reading of the job's file: the percentage never falls, and the estimate changes only when it rises."""
    before = pace.told.percent if pace.told else 0.0
    reached = Mark(at, max(before, min(percent, ALMOST)))
    is_moving = reached.percent > before
    marks = pace.marks
    if is_moving and not is_starting:
        marks = _passed(marks, reached)
    if is_starting or reached.percent >= EXPORTING:
        return Pace(_told(reached, None), marks)
    estimate = _estimate(marks, reached) if is_moving else None
    standing = pace.told.estimated_finish_at if pace.told else None
    return Pace(_told(reached, estimate or standing), marks)


def interrupted(pace: Pace) -> Pace:
    """After a time of which nobody knows what it was to the job: what it takes is to be learned anew."""
    return Pace(_without_estimate(pace.told), ())


def shown(pace: Pace, now: datetime, *, is_stalled: bool) -> Progress | None:
    """What is told of it now: an estimate whose moment has passed, or of a run that stands still, is none."""
    finish = pace.told.estimated_finish_at if pace.told else None
    if finish is None or (finish > now and not is_stalled):
        return pace.told
    return _without_estimate(pace.told)


def ended(told: Progress | None, percent: float | None, at: datetime | None, *, is_finished: bool) -> Progress | None:
    """What stays of it for ever: 100 of a finished job, of any other the last that was read."""
    updated_at = at or (told.updated_at if told else None)
    if is_finished:
        return Progress(percent=100.0, updated_at=updated_at)
    if told is None and percent is None:
        return None
    return Progress(percent=min(max(told.percent if told else 0.0, percent or 0.0), ALMOST), updated_at=updated_at)


def _passed(marks: tuple[Mark, ...], reached: Mark) -> tuple[Mark, ...]:
    if not marks or reached.at <= marks[-1].at:  # a clock that was set back measures nothing
        return (reached,)
    if reached.percent - marks[-1].percent < _SPACING:
        return marks
    oldest = max((n for n, mark in enumerate(marks) if reached.percent - mark.percent >= _STRETCH), default=0)
    return (*marks[oldest:], reached)


def _estimate(marks: tuple[Mark, ...], reached: Mark) -> datetime | None:
    """When it will be done at the pace since the oldest mark; None while too little is known."""
    if not marks:
        return None
    gained = reached.percent - marks[0].percent
    if gained < LEAST_GAIN:
        return None
    seconds = (reached.at - marks[0].at).total_seconds() * (100.0 - reached.percent) / gained
    return reached.at + timedelta(seconds=seconds) if seconds < _LONGEST.total_seconds() else None


def _told(reached: Mark, finish: datetime | None) -> Progress:
    if finish is None or finish <= reached.at:
        return Progress(percent=reached.percent, updated_at=reached.at)
    left = round((finish - reached.at).total_seconds(), 1)
    return Progress(percent=reached.percent, updated_at=reached.at, eta_seconds=left, estimated_finish_at=finish)


def _without_estimate(told: Progress | None) -> Progress | None:
    return told and Progress(percent=told.percent, updated_at=told.updated_at)
