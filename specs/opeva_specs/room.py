"""Room: what a host gives, what runs there, what waits for it; it counts, and decides nothing."""

from bisect import bisect_left, insort
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import NamedTuple

from opeva_specs.status import Reason
from opeva_specs.terms import Demand

Place = tuple[datetime, str]  # since when a job is queued, and its name
_Lane = dict[Demand, list[Place]]  # what waits at a host of one user with one priority, by what it asks for


class Shortage(NamedTuple):
    """What of a host a job needs, and there is too little of; less than nothing is left where a host was cut down."""

    kind: Reason
    needed: int
    left: int
    total: int

    @property
    def is_forever(self) -> bool:
        """Whether it lasts even when nothing runs; a host that takes no jobs at all may take some later."""
        return self.needed > self.total and self.kind != Reason.AT_CAPACITY


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a host gives to all jobs together; None: as much as they like."""

    jobs: int
    cpu: int | None = None
    memory: int | None = None
    gpu: int = 0


_NOTHING = Demand()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A job that wants a place, or has one."""

    name: str
    host: str
    queued_at: datetime
    priority: int = 0
    user: str = ""
    demand: Demand = _NOTHING

    @property
    def place(self) -> Place:
        """Where it stands among its equals."""
        return self.queued_at, self.name


class _Limits(NamedTuple):
    """So much a demand may be at most."""

    cpu: float
    memory: float
    gpu: float

    def holds(self, demand: Demand) -> bool:
        return demand.cpu <= self.cpu and demand.memory <= self.memory and demand.gpu <= self.gpu


@dataclass(slots=True)
class Room:
    """What a host gives (None: nobody knows), what runs there, and what waits for it."""

    capacity: Capacity | None = None
    placed: dict[str, Claim] = field(default_factory=dict)
    used: Counter[Reason] = field(default_factory=Counter)
    lanes: dict[int, dict[str, _Lane]] = field(default_factory=dict)  # by priority, then by user
    asked: Counter[Demand] = field(default_factory=Counter)  # how many wait with each demand

    def use(self, demand: Demand, sign: int) -> None:
        """Take that much, or with -1 give it back."""
        for kind, amount in amounts(demand):
            self.used[kind] += sign * amount

    def add(self, claim: Claim) -> None:
        """Let it wait."""
        lane = self.lanes.setdefault(claim.priority, {}).setdefault(claim.user, {})
        insort(lane.setdefault(claim.demand, []), claim.place)
        self.asked[claim.demand] += 1

    def remove(self, claim: Claim) -> None:
        """Let it wait no more; leaves nothing behind."""
        lane = self.lanes[claim.priority][claim.user]
        places = lane[claim.demand]
        del places[bisect_left(places, claim.place)]
        if not places:
            del lane[claim.demand]
        if not lane:
            del self.lanes[claim.priority][claim.user]
        if not self.lanes[claim.priority]:
            del self.lanes[claim.priority]
        self.asked[claim.demand] -= 1
        if not self.asked[claim.demand]:
            del self.asked[claim.demand]

    def short(self, demand: Demand) -> list[Shortage]:
        """What there is too little of; a job does not lack what it does not ask for, however little is left."""
        totals = _totals(self.capacity) if self.capacity else {}
        found = (
            Shortage(kind, need, total - self.used[kind], total)
            for kind, need in amounts(demand)
            if (total := totals.get(kind)) is not None
        )
        return [s for s in found if s.needed > max(s.left, 0)]

    def left(self) -> _Limits:
        """What runs leaves so much; nothing where nobody knows."""
        if self.capacity is None:
            return _Limits(0, 0, 0)
        totals = _limits(self.capacity)
        return _Limits(*(max(total - self.used[kind], 0) for kind, total in zip(_MEASURED, totals, strict=True)))

    def fitting(self) -> set[Demand]:
        """What is asked for that fits beside what runs."""
        if self.capacity is None or self.used[Reason.AT_CAPACITY] >= self.capacity.jobs:
            return set()
        return self._within(self.left())

    def able(self) -> set[Demand]:
        """What is asked for that the host could ever give."""
        return set(self.asked) if self.capacity is None else self._within(_limits(self.capacity))

    def rivals(self, demand: Demand) -> set[Demand]:
        """What would fit as well once there is just room for that demand; all else may be passed."""
        left = self.left()
        limits = _Limits(max(left.cpu, demand.cpu), max(left.memory, demand.memory), max(left.gpu, demand.gpu))
        return self._within(limits)

    def _within(self, limits: _Limits) -> set[Demand]:
        return {demand for demand in self.asked if limits.holds(demand)}


_MEASURED = (Reason.CPU, Reason.MEMORY, Reason.GPU)


def amounts(demand: Demand) -> tuple[tuple[Reason, int], ...]:
    """What a job takes of each kind; of the jobs that may run at once it is one."""
    return (Reason.AT_CAPACITY, 1), (Reason.CPU, demand.cpu), (Reason.MEMORY, demand.memory), (Reason.GPU, demand.gpu)


def _totals(capacity: Capacity) -> dict[Reason, int | None]:
    measured = (capacity.cpu, capacity.memory, capacity.gpu)
    return {Reason.AT_CAPACITY: capacity.jobs, **dict(zip(_MEASURED, measured, strict=True))}


def _limits(capacity: Capacity) -> _Limits:
    measured = (capacity.cpu, capacity.memory, capacity.gpu)
    return _Limits(*(inf if total is None else total for total in measured))
