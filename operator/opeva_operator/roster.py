"""Roster: what must be known of every job at every moment, small enough for tens of thousands of them."""

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from sys import intern

from opeva_specs.admission import Capacity, Claim, Line
from opeva_specs.hostsfile import LOCAL
from opeva_specs.specfiles import Known
from opeva_specs.status import JobStatus, Phase, Reason, condition_of
from opeva_specs.terms import Blocker, Demand
from opeva_specs.wanted import Doc

# Whoever waits for one of these stands in nobody's way.
_ASIDE = frozenset({Reason.HELD, Reason.SUSPENDED, Reason.BACK_OFF})
FRONT = 20  # so many at the head of the queue are told all about it
FAR = Blocker(
    kind=Reason.AHEAD,
    message=f"more than {FRONT} jobs are ahead: state/queue.json has its place",
    unblocks="they start, end or are stopped",
)


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
    host: str
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
        host=intern(observed.host),
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

    def __init__(self, line: Line, default: Demand, wake: Callable[[str], None]) -> None:
        self._line, self._default, self._wake = line, default, wake
        self._lock = threading.RLock()
        self._entries: dict[str, Entry] = {}
        self._by_source: dict[str, set[str]] = {}
        self._claims: dict[str, Claim] = {}  # of every queued job, in the line or beside it
        self._occupied: set[str] = set()
        self._last_due = ""
        self.changes = 0  # counts what was put in, for those who write it all down

    def put(self, name: str, status: JobStatus | None) -> None:
        """Take note of a job's new status; None forgets the job."""
        with self._lock:
            before = self._entries.pop(name, None)
            if status is None:
                self.changes += 1
            if before is not None:
                self._by_source[before.source].discard(name)
                if not self._by_source[before.source]:
                    del self._by_source[before.source]
            if status is not None:
                entry = entry_of(status)
                self.changes += entry != before
                self._entries[name] = entry
                self._by_source.setdefault(entry.source, set()).add(name)
            self._place(name, status)
        self.wake_next()

    def set_capacity(self, host: str, capacity: Capacity | None) -> None:
        """What a host gives from now on; None: nothing is known of it."""
        with self._lock:
            self._line.set_capacity(host, capacity)
        self.wake_next()

    def _place(self, name: str, status: JobStatus | None) -> None:
        phase = status.status.phase if status else None
        if status is None or phase is None or phase.is_terminal or status.status.reason == Reason.UNKILLABLE:
            self._claims.pop(name, None)
            self._line.leave(name)
            (self._occupied.add if status and phase and not phase.is_terminal else self._occupied.discard)(name)
            return
        claim = self._claim(name, status)
        if phase is not Phase.QUEUED:
            self._claims.pop(name, None)
            self._line.occupy(claim)
            self._occupied.add(name)
            return
        self._occupied.discard(name)
        is_new = self._claims.get(name) != claim
        self._claims[name] = claim
        if status.status.reason in _ASIDE:
            self._line.leave(name, forget=False)
        elif is_new:
            self._line.wait(claim)

    def _claim(self, name: str, status: JobStatus) -> Claim:
        observed = status.status
        return Claim(
            name=name,
            host=intern(observed.host),
            queued_at=observed.queued_at,
            priority=observed.terms.priority,
            user=intern(str(observed.job_info.get("submitted_by", ""))),
            demand=observed.demand or self._default,
        )

    def block(self, name: str, is_blocked: bool) -> None:
        """Say whether a queued job waits for something else than its turn: then it stands in nobody's way."""
        with self._lock:
            claim = self._claims.get(name)
            if claim is None:
                return
            if not is_blocked:
                self._line.wait(claim)
                return
            self._line.leave(name, forget=False)
        self.wake_next()

    def admit(self, name: str) -> bool:
        """Take a place for the job if it is its turn."""
        with self._lock:
            if name in self._claims and not self._line.admit(name):
                return False
            self._claims.pop(name, None)
            self._occupied.add(name)
        self.wake_next()
        return True

    def hindrances(self, name: str) -> list[Blocker]:
        """What of capacity and order keeps a queued job from starting, whatever else it waits for."""
        with self._lock:
            claim = self._claims.get(name)
            if claim is None:
                return []
            was_waiting = self._line.is_waiting(name)
            self._line.wait(claim)
            found = self._line.hindrances(name)
            if (self._line.position(name) or 0) > FRONT and not any(b.kind == Reason.TOO_LARGE for b in found):
                found = [FAR]  # its figures change all the time, and thousands would be told them
            if not was_waiting:
                self._line.leave(name, forget=False)
            return found

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
            names = [self._line.turn(host) for host in self._line.hosts()]
        for name in names:
            if name is not None:
                self._wake(name)

    def front(self) -> list[str]:
        """Names of the first in the line of each host."""
        with self._lock:
            return [name for host in self._line.hosts() for name in self._line.first(host, FRONT)]

    def get(self, name: str) -> Entry | None:
        """The job in brief, None if there is none."""
        with self._lock:
            return self._entries.get(name)

    def items(self) -> list[tuple[str, Entry]]:
        """All jobs in brief."""
        with self._lock:
            return list(self._entries.items())

    def active(self, host: str | None = None) -> set[str]:
        """Names of the jobs that have not ended, everywhere or of one host."""
        with self._lock:
            found = self._occupied | set(self._claims)
            return found if host is None else {name for name in found if self.host_of(name) == host}

    def due(self, most: int) -> set[str]:
        """Names for a full pass: all that were started, and in turn so many of those that wait.

        Whatever a waiting job waits for wakes it; thousands of them need not be looked at every time to be sure.
        """
        with self._lock:
            waiting = sorted(self._claims)
            start = bisect_right(waiting, self._last_due)
            chosen = (waiting[start:] + waiting[:start])[:most]
            self._last_due = chosen[-1] if chosen else ""
            return self._occupied | set(chosen)

    def blocked(self) -> set[str]:
        """Names of the queued jobs that wait for something else than their turn."""
        with self._lock:
            return {name for name in self._claims if not self._line.is_waiting(name)}

    def running(self, host: str | None = None) -> set[str]:
        """Names of the jobs that have started and not ended, everywhere or on one host."""
        with self._lock:
            return {name for name in self._occupied if host is None or self.host_of(name) == host}

    def queue(self) -> list[tuple[int | None, Claim]]:
        """Every queued job with its place, host by host in the order of turns; last, without one, those beside."""
        with self._lock:
            hosts, count = sorted(self._line.hosts()), len(self._claims)
            lines = [enumerate(self._line.first(host, count), 1) for host in hosts]
            placed: list[tuple[int | None, Claim]] = [(n, self._claims[name]) for line in lines for n, name in line]
            known = {claim.name for _, claim in placed}
            beside = sorted((c for name, c in self._claims.items() if name not in known), key=lambda c: c.place)
            return [*placed, *((None, claim) for claim in beside)]

    def host_of(self, name: str) -> str:
        """Where the job is or will be; of one that is not known yet, the operator's own."""
        entry = self._entries.get(name)
        return entry.host if entry else LOCAL

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
