"""Roster: what must be known of every job at every moment, small enough for tens of thousands of them."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from opeva_specs.admission import Place, admitted, join, leave, position
from opeva_specs.specfiles import Known
from opeva_specs.status import JobStatus, Phase, Reason, condition_of
from opeva_specs.wanted import Doc


@dataclass(frozen=True, slots=True)
class Entry:
    """A job in brief."""

    phase: Phase
    digest: str
    source: str
    source_hash: str
    documents: int
    queued_at: datetime
    hidden: bool
    container_id: str | None
    job_name: str
    is_calm: bool  # ended, and its spec was there: nothing is due unless its file changes


def entry_of(status: JobStatus) -> Entry:
    """The brief form of a status."""
    meta, observed, attempt = status.metadata, status.status, status.attempt
    return Entry(
        phase=observed.phase,
        digest=meta.digest,
        source=meta.source,
        source_hash=meta.source_hash,
        documents=meta.source_documents,
        queued_at=observed.queued_at,
        hidden=observed.hidden,
        container_id=attempt.container_id if attempt else None,
        is_calm=_is_calm(status),
        job_name=str(observed.job_info.get("job_name", meta.name)),
    )


def _is_calm(status: JobStatus) -> bool:
    spec = condition_of(status, "SpecPresent")
    has_spec = spec is not None and spec.status == "True"
    was_cut_short = status.status.reason in (Reason.SUPERSEDED, Reason.SPEC_DELETED) and not status.status.hidden
    return status.status.phase.is_terminal and has_spec and not was_cut_short


class Roster:
    """Thread-safe; `wake` is called with names whose turn to start may have come."""

    def __init__(self, limit: int, wake: Callable[[str], None]) -> None:
        self._limit, self._wake = limit, wake
        self._lock = threading.RLock()
        self._entries: dict[str, Entry] = {}
        self._by_source: dict[str, set[str]] = {}
        self._waiting: dict[str, Place] = {}  # every queued job
        self._queue: list[Place] = []  # those that wait for nothing but their turn, in order
        self._occupied: set[str] = set()
        self.changes = 0  # counts what was put in, for those who write it all down

    def put(self, name: str, status: JobStatus | None) -> None:
        """Take note of a job's new status; None forgets the job."""
        with self._lock:
            self.changes += 1
            before = self._entries.pop(name, None)
            if before is not None:
                self._by_source[before.source].discard(name)
            if status is not None:
                entry = entry_of(status)
                self._entries[name] = entry
                self._by_source.setdefault(entry.source, set()).add(name)
            self._place(name, status)
        self.wake_next()

    def _place(self, name: str, status: JobStatus | None) -> None:
        phase = status.status.phase if status else None
        if status is not None and phase is Phase.QUEUED:
            self._occupied.discard(name)
            place = (status.status.queued_at, name)
            if self._waiting.get(name) != place:
                self._drop_place(name)
                self._waiting[name] = place
                join(self._queue, place)
            if status.status.reason == Reason.HELD:  # it waits for a person, and stands in nobody's way
                leave(self._queue, place)
            return
        self._drop_place(name)
        if phase is None or phase.is_terminal:
            self._occupied.discard(name)
        else:
            self._occupied.add(name)

    def _drop_place(self, name: str) -> None:
        place = self._waiting.pop(name, None)
        if place is not None:
            leave(self._queue, place)

    def block(self, name: str, is_blocked: bool) -> None:
        """Say whether a queued job waits for something else than its turn: then it stands in nobody's way."""
        with self._lock:
            place = self._waiting.get(name)
            if place is None:
                return
            if not is_blocked:
                join(self._queue, place)
                return
            leave(self._queue, place)
        self.wake_next()

    def admit(self, name: str) -> tuple[bool, str]:
        """Take a place for the job if it is its turn; else the sentence why not."""
        with self._lock:
            place = self._waiting.get(name)
            if place is None or name in admitted(self._queue, len(self._occupied), self._limit):
                self._drop_place(name)
                self._occupied.add(name)
                return True, ""
            number = position(self._queue, place)
            return (
                False,
                f"waits for its turn: number {number} in the queue, {len(self._occupied)} of {self._limit} run",
            )

    def settle(self, name: str, status: JobStatus) -> None:
        """A job that was let in and waits after all gives its place back."""
        with self._lock:
            if status.status.phase is not Phase.QUEUED or name not in self._occupied:
                return
            self._place(name, status)
        self.wake_next()

    def wake_next(self) -> None:
        """Have those looked at whose turn it is."""
        with self._lock:
            names = admitted(self._queue, len(self._occupied), self._limit)
        for name in names:
            self._wake(name)

    def get(self, name: str) -> Entry | None:
        """The job in brief, None if there is none."""
        with self._lock:
            return self._entries.get(name)

    def items(self) -> list[tuple[str, Entry]]:
        """All jobs in brief."""
        with self._lock:
            return list(self._entries.items())

    def active(self) -> set[str]:
        """Names of the jobs that have not ended."""
        with self._lock:
            return self._occupied | set(self._waiting)

    def blocked(self) -> set[str]:
        """Names of the queued jobs that wait for something else than their turn."""
        with self._lock:
            return set(self._waiting) - {name for _, name in self._queue}

    def running(self) -> set[str]:
        """Names of the jobs that occupy a place."""
        with self._lock:
            return set(self._occupied)

    def known(self, source: str) -> Known | None:
        """What the statuses know of a spec file: with an empty hash when they cannot stand for the whole file."""
        with self._lock:
            rows = [(name, self._entries[name]) for name in self._by_source.get(source, ())]
        if not rows:
            return None
        docs = tuple(Doc(name=name, digest=entry.digest) for name, entry in rows)
        return Known(_one_hash(entry for _, entry in rows), docs)


def _one_hash(entries: Iterable[Entry]) -> str:
    """The hash that all of a file's documents were read under; empty when they differ or some are missing."""
    found = list(entries)
    hashes = {entry.source_hash for entry in found}
    is_whole = len(hashes) == 1 and all(entry.documents == len(found) for entry in found)
    return hashes.pop() if is_whole else ""
