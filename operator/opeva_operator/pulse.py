"""Pulses: looks at what running jobs write, and tells how far each is and whether it has fallen silent.

A look costs a few calls of stat; `progress.json` is read only when it changed. A job writes these files as it likes:
they may be torn, huge, full of NaN, links or pipes, and have any time.
"""

import errno
import itertools
import json
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from opeva_operator import pace, stall
from opeva_operator.pace import Pace
from opeva_operator.situation import Beat
from opeva_operator.stall import Source, Stage, Watch
from opeva_specs.progress import percent_of
from opeva_specs.status import Attempt, JobStatus, Phase, condition_of
from opeva_specs.terms import Progress
from opeva_specs.volume import SharedVolume

MAX_PROGRESS_BYTES = 256 * 1024
MAX_LOGS = 32  # a job may write any number of files beside the logs that we know
LONGEST_GAP = timedelta(minutes=5)  # between two looks; after a longer one, no pace is known
STALL_AFTER = timedelta(seconds=300)
_TRIES = 2

Run = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Stamp:
    """What changes whenever a file does."""

    inode: int
    size: int
    mtime_ns: int

    @property
    def at(self) -> datetime:
        """When it was written, if one may believe that; an instant no calendar knows is the beginning of time."""
        try:
            return datetime.fromtimestamp(self.mtime_ns / 1e9, UTC)
        except (OverflowError, ValueError, OSError):
            return datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Found:
    """The files of a job at one look."""

    progress: Stamp | None = None
    logs: frozenset[tuple[str, Stamp]] = frozenset()

    def signs_since(self, before: "Found") -> dict[Source, datetime]:
        """What was written since then, and when."""
        signs = {}
        if self.progress is not None and self.progress != before.progress:
            signs[Source.PROGRESS] = self.progress.at
        if written := self.logs - before.logs:
            signs[Source.LOG] = max(stamp.at for _, stamp in written)
        return signs


@dataclass(frozen=True, slots=True)
class Reading:
    """What `progress.json` said."""

    percent: float
    is_initializing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is known of one attempt; `tries` is how often its present `progress.json` may still be read."""

    run: Run
    found: Found
    watch: Watch
    pace: Pace
    is_initializing: bool = False
    tries: int = 0

    @property
    def stage(self) -> Stage:
        """What the run is at, as far as its files tell."""
        if self.is_initializing or not self.watch.heard:
            return Stage.STARTING
        percent = self.pace.told.percent if self.pace.told else 0.0
        return Stage.EXPORTING if percent >= pace.EXPORTING else Stage.WORKING


class Pulses:
    """The pulse of every running job of a volume. None of it is kept on disk: after a restart it is learned anew.

    Different jobs may be looked at from different threads at once, one job from one at a time.
    """

    def __init__(
        self, volume: SharedVolume, clock: Callable[[], datetime], stall_after: timedelta = STALL_AFTER
    ) -> None:
        self._volume, self._clock, self._stall_after = volume, clock, stall_after
        self._known: dict[str, _Known] = {}

    def look(self, name: str, status: JobStatus, container_is_live: bool) -> Beat:
        """How the job's present attempt is doing; raises nothing, whatever the job made of its files."""
        attempt, now = status.attempt, self._clock()
        if attempt is None or attempt.started_at is None:
            return _not_started(attempt, status.status.queued_at)
        before = self._of(name, attempt)
        found = self._find(name)
        is_live = container_is_live and found is not None and _is_at_work(status)
        if before is None:
            since = _on_our_clock(attempt.started_at, attempt)
            known = _begun(attempt, since, found or Found(), now, is_live)
        else:
            step = stall.longest_step(self._stall_after, *_allowed(status))
            since = before.watch.looked_at
            known = _went_on(before, found or before.found, now, is_live, step)
        if known.tries:
            known = self._with_reading(name, known, since, now)
        if attempt.engine_state == "paused":
            known = replace(known, pace=pace.interrupted(known.pace))
        self._known[name] = known
        return _beat(known, self._stall_after, now)

    def forget(self, name: str) -> None:
        """Keep nothing of the job; its next look is a first one."""
        self._known.pop(name, None)

    def final(self, name: str, status: JobStatus) -> Progress | None:
        """What stays told of the present attempt's progress, once its end is in the status: 100 if it has finished."""
        attempt = status.attempt
        if attempt is None or attempt.started_at is None:
            return attempt.progress if attempt else None
        known, found, reading = self._of(name, attempt), self._find(name), self._read(name)
        told = known.pace.told if known else attempt.progress
        is_finished = status.status.phase is Phase.FINISHED
        if reading is None or found is None or found.progress is None:
            return pace.ended(told, None, None, is_finished=is_finished)
        end = _on_our_clock(attempt.finished_at, attempt) if attempt.finished_at else self._clock()
        at = stall.within(found.progress.at, _on_our_clock(attempt.started_at, attempt), end)
        return pace.ended(told, reading.percent, at, is_finished=is_finished)

    def _of(self, name: str, attempt: Attempt) -> _Known | None:
        known = self._known.get(name)
        return known if known is not None and known.run == _run(attempt) else None

    def _find(self, name: str) -> Found | None:
        """The files as they are; None when nobody can tell."""
        try:
            with self._volume.folder(f"jobs/{name}") as job_fd:
                progress = _stamps(job_fd, "progress", ["progress.json"])
                logs = _stamps(job_fd, "logs", [f"{name}.log", "container.log"], others=MAX_LOGS)
        except OSError:
            return None
        return Found(progress.get("progress.json"), frozenset(logs.items()))

    def _with_reading(self, name: str, known: _Known, since: datetime, now: datetime) -> _Known:
        """With what the file says; one that is torn is read once more at the next look, even if it stays as it is."""
        reading, stamp = self._read(name), known.found.progress
        if reading is None or stamp is None:
            return replace(known, tries=known.tries - 1)
        at = stall.within(stamp.at, since, now)
        new_pace = pace.read(known.pace, reading.percent, at, is_starting=reading.is_initializing)
        return replace(known, pace=new_pace, is_initializing=reading.is_initializing, tries=0)

    def _read(self, name: str) -> Reading | None:
        """What `progress.json` says; None while it cannot be read or understood."""
        try:
            said = json.loads(self._volume.read(f"jobs/{name}/progress/progress.json", MAX_PROGRESS_BYTES))
        except (OSError, ValueError, RecursionError):
            return None
        return Reading(percent_of(said), said.get("status") == "initializing") if isinstance(said, dict) else None


def _begun(attempt: Attempt, started_at: datetime, found: Found, now: datetime, is_live: bool) -> _Known:
    return _Known(
        run=_run(attempt),
        found=found,
        watch=stall.begun(now, started_at, found.signs_since(Found()), is_live=is_live),
        pace=Pace(attempt.progress),
        tries=_TRIES if found.progress else 0,
    )


def _went_on(known: _Known, found: Found, now: datetime, is_live: bool, longest_step: timedelta) -> _Known:
    signs = found.signs_since(known.found)
    is_gap = not timedelta(0) <= now - known.watch.looked_at <= LONGEST_GAP
    return replace(
        known,
        found=found,
        watch=stall.went_on(known.watch, now, signs, is_live=is_live, longest_step=longest_step),
        pace=pace.interrupted(known.pace) if is_gap else known.pace,
        tries=_TRIES if Source.PROGRESS in signs else known.tries,
    )


def _beat(known: _Known, stall_after: timedelta, now: datetime) -> Beat:
    is_stalled = stall.is_stalled(known.watch, known.stage, stall_after)
    return Beat(
        progress=pace.shown(known.pace, now, is_stalled=is_stalled),
        silent_for=known.watch.silent_for,
        is_stalled=is_stalled,
        words=stall.sentence(known.watch, known.stage),
        last_sign=known.watch.last_sign,
    )


def _not_started(attempt: Attempt | None, queued_at: datetime) -> Beat:
    return Beat(
        progress=attempt.progress if attempt else None,
        words="it has not started yet",
        last_sign=attempt.queued_at if attempt else queued_at,
    )


def _on_our_clock(at: datetime, attempt: Attempt) -> datetime:
    """When the engine says it was; an attempt keeps how far the engine's clock was before ours."""
    return at - timedelta(seconds=attempt.clock_offset or 0)


def _run(attempt: Attempt) -> Run:
    return attempt.generation, attempt.attempt


def _allowed(status: JobStatus) -> list[timedelta]:
    """The longest silence that its spec allows, if it names one."""
    seconds = status.status.terms.stall_seconds
    return [] if seconds is None else [timedelta(seconds=seconds)]


def _is_at_work(status: JobStatus) -> bool:
    """Whether silence would mean anything: not of a paused job, a stopping one, or one whose engine nobody can ask."""
    engine = condition_of(status, "EngineReachable")
    is_known = engine is None or engine.status == "True"
    is_paused = status.attempt is not None and status.attempt.engine_state == "paused"
    return is_known and not is_paused and status.status.phase is not Phase.STOPPING


def _stamps(job_fd: int, folder: str, names: list[str], others: int = 0) -> dict[str, Stamp]:
    """The plain files of these names, and some others, that have anything in them; no link is followed."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=job_fd)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
            return {}
        raise
    try:
        with os.scandir(fd) as entries:
            more = [entry.name for entry in itertools.islice(entries, others)]
        return {name: stamp for name in {*names, *more} if (stamp := _stamp(fd, name)) is not None}
    finally:
        os.close(fd)


def _stamp(folder_fd: int, name: str) -> Stamp | None:
    try:
        found = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode) or found.st_size == 0:
        return None
    return Stamp(found.st_ino, found.st_size, found.st_mtime_ns)
