"""Lineup: the line as the operator's statuses tell of it, kept in memory; says at once why a job waits.

It is the operator's own rule (`opeva_specs.admission`), fed with what the operator wrote: nothing is admitted here.
"""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from heapq import merge
from typing import Any

from opeva_api.standing import LOCAL, Standing
from opeva_specs.admission import Capacity, Claim, Line
from opeva_specs.settings import Settings
from opeva_specs.status import Reason
from opeva_specs.terms import Blocker


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a waiting job stands, and what of capacity and order is in its way; None: nobody can tell."""

    position: int | None = None
    hindrances: tuple[Blocker, ...] | None = ()


class Lineup:
    """Every active job in the line, beside it, or with a place; thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._line = Line({}, per_user=settings.max_jobs_per_user, max_bypass=settings.max_bypass)
        self._standings: dict[str, Standing] = {}
        self._kept: dict[str, tuple[str, int]] = {}  # who is told that room is kept, for whom, passed how often
        self._capacities: dict[str, Capacity] = {}
        self._order: list[Standing] | None = None

    def place(self, name: str, standing: Standing | None) -> None:
        """Put a job where it stands now; None takes it out."""
        with self._lock:
            if self._standings.get(name) == standing:
                return
            self._order = None
            self._kept.pop(name, None)
            if standing is None:
                del self._standings[name]
                self._line.leave(name)
                return
            self._standings[name] = standing
            self._note_kept(name, standing)
            if standing.is_placed:
                self._line.occupy(standing.claim)
            elif standing.is_aside:
                self._line.leave(name)
            else:
                self._line.wait(standing.claim)

    def see(self, hosts: Mapping[str, Any]) -> None:
        """Take over what each host gives, as the operator last told."""
        found = {name: capacity for name, told in hosts.items() if (capacity := _capacity(told)) is not None}
        if not hosts:
            found[LOCAL] = Capacity(jobs=self._settings.max_concurrent_jobs)
        with self._lock:
            if found == self._capacities:
                return
            for name in self._capacities.keys() | found.keys():
                self._line.set_capacity(name, found.get(name))
            self._capacities, self._order = found, None

    def why(self, name: str) -> Place:
        """Where a waiting job stands; nothing for any other."""
        with self._lock:
            standing = self._standings.get(name)
            if standing is None or standing.is_placed:
                return Place()
            if standing.is_aside:
                return self._as_if_waiting(standing.claim, has_position=False)
            self._recall_passes()
            return self._place(standing.claim, has_position=True)

    def if_joined(self, claim: Claim) -> Place:
        """Where a job would stand that is not there; its name must be nobody's."""
        with self._lock:
            return self._as_if_waiting(claim, has_position=True)

    def order(self) -> list[Standing]:
        """All waiting jobs: the line of each host in its order, then those that wait for something else."""
        with self._lock:
            if self._order is None:
                self._order = self._ordered()
            return self._order

    def _as_if_waiting(self, claim: Claim, *, has_position: bool) -> Place:
        self._line.wait(claim)
        try:
            self._recall_passes()
            return self._place(claim, has_position=has_position)
        finally:
            self._line.leave(claim.name)

    def _place(self, claim: Claim, *, has_position: bool) -> Place:
        position = self._line.position(claim.name) if has_position else None
        is_known = claim.host in self._capacities
        return Place(position=position, hindrances=tuple(self._line.hindrances(claim.name)) if is_known else None)

    def _note_kept(self, name: str, standing: Standing) -> None:
        for blocker in standing.blockers:
            details = blocker.get("details") or {}
            if blocker["kind"] == Reason.RESERVED and isinstance(details.get("passed"), int):
                self._kept[name] = (str(details.get("for")), details["passed"])

    def _recall_passes(self) -> None:
        """The operator counts how often a job was passed; it tells of it only where room is kept."""
        self._line.passed = Counter({head: n for head, n in self._kept.values() if self._line.is_waiting(head)})

    def _ordered(self) -> list[Standing]:
        count = len(self._standings)
        lines = [[self._standings[name] for name in self._line.first(host, count)] for host in self._line.hosts()]
        ordered = list(merge(*lines, key=lambda standing: standing.claim.queued_at))
        known = {standing.claim.name for standing in ordered}
        waiting = (s for name, s in self._standings.items() if name not in known and not s.is_placed)
        return ordered + sorted(waiting, key=lambda standing: standing.claim.place)


def _capacity(told: Any) -> Capacity | None:
    """What a host gives; None when nobody knows."""
    if not isinstance(told, dict):
        return None
    found, info = told.get("capacity"), told.get("info")
    if isinstance(found, dict):
        return Capacity(
            jobs=int(found.get("jobs") or 0),
            cpu=found.get("cpu"),
            memory=found.get("memory"),
            gpu=found.get("gpu") or 0,
        )
    jobs = info.get("max_active_jobs") if isinstance(info, dict) and told.get("usable") is not False else None
    return Capacity(jobs=jobs) if isinstance(jobs, int) else None
