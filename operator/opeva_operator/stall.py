"""Whether a run has fallen silent: pure. What is usual is learned from the run itself.

    begun(...) -> Watch; then, at every look: went_on(watch, ...) -> Watch; watch.silent_for, is_stalled(watch, ...)

Time counts as silence only while somebody looks: between two looks, at most so much as a look may be late. So a clock
that jumps, a paused container and an operator that slept are no silence of the job.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

NOTHING = timedelta(0)
LONGEST_STEP = timedelta(seconds=30)  # however late a look is
LEAST_WATCH = timedelta(seconds=60)  # before that, only what somebody saw himself counts
RECENT = 20  # intervals that are remembered
LENIENT = 10  # times what is usual
PATIENT = 6  # times the least silence, while it starts and while it exports
LEAST_LOOKS = 3  # no single step may make up more than this part of a limit


class Source(StrEnum):
    """Where a run gives signs."""

    PROGRESS = "progress.json"
    LOG = "the log"


class Stage(StrEnum):
    """What a run is at; in the first and the last, silence is normal for longer."""

    STARTING = "starting"
    WORKING = "working"
    EXPORTING = "exporting"


@dataclass(frozen=True, slots=True)
class Cadence:
    """The newest intervals between signs."""

    recent: tuple[timedelta, ...] = ()

    def learned(self, interval: timedelta) -> "Cadence":
        """With one more interval; the oldest is forgotten."""
        return Cadence((*self.recent, interval)[-RECENT:])

    @property
    def usual(self) -> timedelta:
        """The longest of them: a run that often pauses is not stalled when it does so again."""
        return max(self.recent, default=NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What is known of one attempt's signs; time counts while it is watched, and before that by the files' times."""

    looked_at: datetime
    is_live: bool
    last_sign: datetime
    heard: frozenset[Source]
    quiet_for: timedelta
    progress_quiet_for: timedelta = NOTHING
    watched_for: timedelta = NOTHING
    any_sign: Cadence = field(default_factory=Cadence)
    progress: Cadence = field(default_factory=Cadence)

    @property
    def silent_for(self) -> timedelta:
        """The silence that may be held against it: what was before the first look counts after a while only."""
        return self.quiet_for if self.watched_for >= LEAST_WATCH else min(self.quiet_for, self.watched_for)

    @property
    def usual(self) -> timedelta:
        """The longest silence that is usual, by any sign or by progress alone; nothing while nothing is learned."""
        return max(self.any_sign.usual, self.progress.usual)


def begun(now: datetime, started_at: datetime, signs: Mapping[Source, datetime], *, is_live: bool) -> Watch:
    """The first look at an attempt: it may have run for long already, then its files tell when it gave signs last."""
    start = min(started_at, now)
    last = {source: within(at, start, now) for source, at in signs.items()}
    last_sign = max(last.values(), default=start)
    return Watch(
        looked_at=now,
        is_live=is_live,
        last_sign=last_sign,
        heard=frozenset(last),
        quiet_for=now - last_sign if is_live else NOTHING,
    )


def went_on(
    watch: Watch, now: datetime, signs: Mapping[Source, datetime], *, is_live: bool, longest_step: timedelta
) -> Watch:
    """The next look: the signs since the last one, or the silence since then."""
    step = min(max(now - watch.looked_at, NOTHING), longest_step) if is_live and watch.is_live else NOTHING
    watched, quiet, progress_quiet = (
        known + step for known in (watch.watched_for, watch.quiet_for, watch.progress_quiet_for)
    )
    # An interval teaches only if it began with a sign, and none of it was told by the files' times alone.
    any_sign, progress = watch.any_sign, watch.progress
    if signs and watch.heard and quiet <= watched:
        any_sign = any_sign.learned(quiet)
    if Source.PROGRESS in signs and Source.PROGRESS in watch.heard:
        progress = progress.learned(progress_quiet)
    return Watch(
        looked_at=now,
        is_live=is_live,
        last_sign=within(max(signs.values()), watch.looked_at, now) if signs else watch.last_sign,
        heard=watch.heard | frozenset(signs),
        quiet_for=NOTHING if signs else quiet,
        progress_quiet_for=NOTHING if Source.PROGRESS in signs else progress_quiet,
        watched_for=watched,
        any_sign=any_sign,
        progress=progress,
    )


def within(at: datetime, earliest: datetime, now: datetime) -> datetime:
    """A file's time as far as it can be true: jobs may set any they like."""
    return min(max(at, earliest), now)


def longest_step(*limits: timedelta) -> timedelta:
    """What one look may add to a silence that is measured by these limits: it takes several to reach any of them."""
    return min(LONGEST_STEP, *(limit / LEAST_LOOKS for limit in limits))


def limit(watch: Watch, stage: Stage, least: timedelta) -> timedelta:
    """The longest silence at that stage that is no stall."""
    match stage:
        case Stage.STARTING | Stage.EXPORTING:
            return max(PATIENT * least, LENIENT * watch.usual)
        case Stage.WORKING:
            return max(least, LENIENT * watch.usual)


def is_stalled(watch: Watch, stage: Stage, least: timedelta) -> bool:
    """Whether it has been silent for longer than can be explained; never said of what is not known to be at work."""
    return watch.is_live and watch.silent_for > limit(watch, stage, least)


def sentence(watch: Watch, stage: Stage) -> str:
    """What is silent, for how long, and what was usual; the same words for a while, so that they can be kept."""
    long = span(watch.silent_for)
    if not watch.heard:
        return f"it has given no sign since its start, neither progress.json nor a log line, for {long}"
    silent = " and ".join(source for source in Source if source in watch.heard)
    is_one = len(watch.heard) == 1
    before = f"usually it is {span(watch.usual)} at most" if watch.usual else "what is usual is not known yet"
    at_work = "" if stage is Stage.WORKING else f" while {stage}"
    return f"{silent} {'has' if is_one else 'have'} been silent for {long}{at_work}; {before}"


def span(length: timedelta) -> str:
    """A length of time in one unit, coarser the longer it is, rounded down."""
    seconds = int(length.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 600:
        return f"{seconds // 60} min"
    if seconds < 2 * 3600:
        return f"{seconds // 300 * 5} min"
    if seconds < 48 * 3600:
        return f"{seconds // 3600} h"
    return f"{seconds // 86400} days"
