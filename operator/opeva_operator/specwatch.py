"""SpecWatch: the spec files, shared by threads, with verdicts told and deletions guarded."""

import logging
import threading
from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import orjson

from opeva_operator import outcome
from opeva_operator.confirmation import Confirmation
from opeva_operator.roster import Roster
from opeva_specs.listing import SUFFIXES
from opeva_specs.model import SimulationJob, is_job_id
from opeva_specs.parse import SpecError
from opeva_specs.specfiles import Look, SpecFile, SpecStore
from opeva_specs.status import Generation, JobStatus, Meta, Observed, Phase, Reason, condition_of
from opeva_specs.volume import SharedVolume
from opeva_specs.wanted import Absent, Present, Wanted

logger = logging.getLogger(__name__)

GUARD_LEAST = 4


def held(
    active: Collection[str], lost: Collection[str], missing: Collection[str], before: Collection[str]
) -> frozenset[str]:
    """Jobs whose deletion waits for a person: at least 4, and more than half of the active ones, gone at once.

    `missing` are the lost ones and those of which nobody can tell now: only a file that is there frees a held job.
    """
    is_many = len(lost) >= GUARD_LEAST and 2 * len(lost) > len(active)
    return frozenset(lost if is_many else ()) | (frozenset(before) & frozenset(missing))


def is_held(status: JobStatus) -> bool:
    """Whether the status tells that the deletion of the job's spec waits for a person."""
    spec = condition_of(status, "SpecPresent")
    return spec is not None and spec.reason == Reason.HELD and not status.status.phase.is_terminal


class SpecWatch:
    """Thread-safe; `wake(name, after)` has a job looked at."""

    def __init__(
        self, store: SpecStore, volume: SharedVolume, roster: Roster, wake: Callable[[str, float], None],
        clock: Callable[[], datetime], again: Callable[[float], None],
    ) -> None:  # fmt: skip
        self._store, self._volume, self._roster = store, volume, roster
        self._wake, self._clock, self._again = wake, clock, again
        self._lock = store.lock  # for moments only: never while files are looked at
        self._telling = threading.Lock()
        self.held: frozenset[str] = frozenset()
        self._confirmation = Confirmation(volume)
        self._confirmed = self._confirmation.names
        self._rejected = set(_rejected_before(volume))

    def scan(self) -> None:
        """Look at every spec file."""
        self._follow_up(self._store.scan(self._clock), None)
        self._store.forget_names(lambda name: self._roster.get(name) is not None)

    def hint(self, source: str, is_complete: bool) -> None:
        """Look at one file below `specs/` that may have changed."""
        self._follow_up(self._store.look(source, is_complete, self._clock), source)

    def looked(self, source: str) -> None:
        """Look at one file now."""
        self.hint(source, True)

    def wanted(self, name: str, source: str | None, now: datetime) -> Wanted:
        """What the files say of a job."""
        return self._store.wanted(name, source, now)

    def job(self, name: str, wanted: Present) -> SimulationJob | None:
        """The job as its file has it; None when the file has changed since."""
        return self._store.job(name, wanted)

    def look_up(self, name: str, source: str | None, now: datetime) -> tuple[Wanted, bool]:
        """What the files say of a job, and whether its deletion waits for a person: both of one moment."""
        doubt = self._store.doubt_about(name, source, now)
        with self._lock:
            return self._store.answer(name, source, now, doubt), name in self.held

    def holds_only(self, source: str, name: str) -> bool:
        """Whether nothing but that job is in the file."""
        file = self._store.files.get(source)
        return file is None or all(doc.name == name for doc in file.docs)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the folder now, for people."""
        return (*self._store.problems, *self._store.remarks)

    # -- following up --------------------------------------------------------------------------------------------

    def _follow_up(self, look: Look, source: str | None) -> None:
        now = self._clock()
        if source is None or self.held or any(self._is_lost(name, now) for name in look.names):
            self.guard()
        beside = {path for name in look.names for path in self._store.holders(name)}
        stale = self._stale_verdicts() if source is None else set()
        for path in look.files | beside | stale:
            self._tell_verdict(path)
        for name in look.names:
            if not self._is_calm(name, now):
                self._wake(name, 0.0)
        if look.again_after is not None:
            self._again(look.again_after.total_seconds())

    def guard(self) -> None:
        """Many specs gone at once look like an accident: their runs go on until a person says otherwise."""
        now = self._clock()
        sources = {name: self._source(name) for name in self._roster.active()}
        doubts = {name: self._store.doubt_about(name, source, now) for name, source in sources.items()}
        is_confirmed = self._confirmation.is_given()
        with self._lock:
            wanted = {name: self._store.answer(name, sources[name], now, doubts[name]) for name in sources}
            missing = {name for name, found in wanted.items() if not isinstance(found, Present)}
            lost = {name for name in missing if isinstance(wanted[name], Absent)}
            before = self.held
            if is_confirmed:
                logger.warning("deletions confirmed: %s", ", ".join(sorted(lost)))
                self._confirmed = frozenset(lost)
            self._confirmed &= missing
            self.held = held(sources, lost - self._confirmed, missing - self._confirmed, before)
            changed = before ^ self.held
        with self._telling:
            self._confirmation.keep(self._confirmed)
        if is_confirmed:
            self._confirmation.take()
        for name in changed:
            self._wake(name, 0.0)

    def has_lost(self, name: str) -> bool:
        """Whether a job's spec is gone while its status does not tell so yet."""
        entry = self._roster.get(name)
        return entry is not None and entry.is_calm and self._is_lost(name, self._clock())

    def _is_calm(self, name: str, now: datetime) -> bool:
        """Whether the job has ended and its file says nothing that its status does not tell."""
        entry = self._roster.get(name)
        if entry is None or not entry.is_calm:
            return False
        wanted = self._store.wanted(name, entry.source, now)
        return isinstance(wanted, Present) and (wanted.digest, wanted.source, wanted.source_hash) == (
            entry.digest,
            entry.source,
            entry.source_hash,
        )

    def _is_lost(self, name: str, now: datetime) -> bool:
        return isinstance(self._store.wanted(name, self._source(name), now), Absent)

    def _source(self, name: str) -> str | None:
        entry = self._roster.get(name)
        return entry.source if entry else None

    def _stale_verdicts(self) -> set[str]:
        """Rejected files that are there no more: they may have gone while no operator ran."""
        with self._telling:
            unseen = self._rejected - self._store.files.keys()
        return {source for source in unseen if not self._store.doubt() and not self._volume.exists(f"specs/{source}")}

    def _tell_verdict(self, source: str) -> None:
        """Say in `rejected/` why a file cannot be accepted; take it back when it was mended."""
        if source in self._rejected:
            self._store.judge(source)
        with self._telling:  # who tells last tells what was believed last
            self._tell_believed(source)

    def _tell_believed(self, source: str) -> None:
        file = self._store.files.get(source)
        errors = self._errors(source, file) if file else []
        try:
            if not errors:
                if source in self._rejected:
                    self._volume.remove(f"rejected/{source}.json")
                    self._rejected.discard(source)
                return
            self._rejected.add(source)
            data = orjson.dumps({"source": source, "errors": errors}, option=orjson.OPT_INDENT_2)
            self._volume.write(f"rejected/{source}.json", data, durable=False)
        except OSError as error:
            logger.error("cannot tell of specs/%s: %s", source, error)
            if not errors:
                return
        logger.warning("specs/%s: %s", source, errors[0]["message"])
        name = PurePosixPath(source).stem
        if source.startswith("api/") and is_job_id(name):
            self._wake(name, 0.0)

    def _errors(self, source: str, file: SpecFile) -> list[dict[str, Any]]:
        errors = [_as_dict(error) for error in (*file.errors, *file.refused)]
        for name in self._store.duplicates(source):
            words = f"{name!r} is the job of another file: give this one another metadata.name"
            place = SpecError(
                document=1, line=1, column=1, field="metadata.name", reason="DuplicateName", message=words
            )
            errors.append(_as_dict(place))
        return errors

    def rejected_status(self, name: str, now: datetime) -> JobStatus | None:
        """The status of a job whose file in `specs/api/` cannot be accepted, if that is so."""
        for source in (f"api/{name}{end}" for end in SUFFIXES):
            file = self._store.files.get(source)
            if file is not None and file.errors and not file.docs:
                return _invalid(name, source, file, now)
        return None


def _rejected_before(volume: SharedVolume) -> list[str]:
    files = volume.rejected.rglob("*.json")
    return [path.relative_to(volume.rejected).as_posix().removesuffix(".json") for path in files]


def _invalid(name: str, source: str, file: SpecFile, now: datetime) -> JobStatus:
    status = JobStatus(
        metadata=Meta(name=name, generation=1, digest="", source=source, source_hash=file.source_hash),
        status=Observed(
            phase=Phase.QUEUED,
            reason=Reason.SPEC_INVALID,
            queued_at=now,
            generations=(Generation(generation=1, digest="", accepted_at=now),),
            job_info={"job_id": name, "job_name": name, "target_host": "local"},
        ),
    )
    words = file.errors[0].sentence()
    told = f"specs/{source} cannot be accepted: {words}"
    return outcome.over(status, Phase.FAILED, Reason.SPEC_INVALID, told, now)


def _as_dict(error: SpecError) -> dict[str, Any]:
    return {
        "document": error.document,
        "line": error.line,
        "column": error.column,
        "field": error.field,
        "reason": error.reason,
        "message": error.message,
    }
