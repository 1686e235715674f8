"""Who may start now, and every reason why not: pure, no clock, no files.

On each host one job is at the head: of those that wait, the one with the highest priority, then of the user who has the
least running, then the one that waits longest. When it fits, it is its turn. When it does not, the first one behind it
that fits may pass, at most `max_bypass` times; then what comes free is kept for the head.

    line = Line({"local": Capacity(jobs=4, cpu=4 * 10**9, memory=8 * 2**30)})
    line.wait(Claim(...))
    name = line.turn("local")
    line.admit(name)
    line.leave(name)
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from heapq import nsmallest
from itertools import chain, islice

from opeva_specs.status import Reason
from opeva_specs.terms import Blocker, Demand

Place = tuple[datetime, str]  # since when a job is queued, and its name
Rank = tuple[int, int, datetime, str]
_NAMED = 3  # of the jobs ahead or in the way, so many are told by name


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a host gives to all jobs together; None: as much as they like."""

    jobs: int
    cpu: int | None = None
    memory: int | None = None
    gpu: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A job that wants a place, or has one."""

    name: str
    host: str
    queued_at: datetime
    priority: int = 0
    user: str = ""
    demand: Demand = Demand()

    @property
    def place(self) -> Place:
        """Where it stands among its equals."""
        return self.queued_at, self.name


@dataclass(frozen=True, slots=True)
class _Kin:
    """Jobs that differ in nothing but since when they wait: what one of them fits, all fit."""

    host: str
    priority: int
    user: str
    demand: Demand


@dataclass(slots=True)
class _Used:
    """What the running jobs of a host take."""

    jobs: int = 0
    cpu: int = 0
    memory: int = 0
    gpu: int = 0

    def add(self, demand: Demand, sign: int) -> None:
        self.jobs += sign
        self.cpu += sign * demand.cpu
        self.memory += sign * demand.memory
        self.gpu += sign * demand.gpu


class Line:
    """The jobs that wait for nothing but their turn, and those that have a place; not thread-safe."""

    def __init__(self, capacities: Mapping[str, Capacity], *, per_user: int = 0, max_bypass: int = 20) -> None:
        self._capacities = dict(capacities)
        self._per_user, self._max_bypass = per_user, max_bypass
        self._waiting: dict[str, Claim] = {}
        self._kin: dict[_Kin, list[Place]] = {}
        self._placed: dict[str, Claim] = {}
        self._used: dict[str, _Used] = {}
        self._running: Counter[str] = Counter()  # jobs of each user
        self.passed: Counter[str] = Counter()  # how often a job at the head was passed

    # -- who is there --------------------------------------------------------------------------------------------

    def set_capacity(self, host: str, capacity: Capacity | None) -> None:
        """What a host gives from now on; None: nothing is known of it, and nobody starts there."""
        if capacity is None:
            self._capacities.pop(host, None)
        else:
            self._capacities[host] = capacity

    def wait(self, claim: Claim) -> None:
        """Let a job stand in the line, or stand elsewhere in it; it gives a place back that it had."""
        if self._waiting.get(claim.name) == claim:
            return
        self.leave(claim.name, forget=False)
        self._waiting[claim.name] = claim
        insort(self._kin.setdefault(_kin(claim), []), claim.place)

    def occupy(self, claim: Claim) -> None:
        """Note that a job has a place, whether or not there is room for it."""
        if self._placed.get(claim.name) == claim:
            return
        self.leave(claim.name)
        self._placed[claim.name] = claim
        self._used.setdefault(claim.host, _Used()).add(claim.demand, 1)
        self._running[claim.user] += 1

    def leave(self, name: str, *, forget: bool = True) -> None:
        """Take a job out, wherever it is; fine if it is nowhere."""
        waiting = self._waiting.pop(name, None)
        if waiting is not None:
            places = self._kin[_kin(waiting)]
            del places[bisect_left(places, waiting.place)]
            if not places:
                del self._kin[_kin(waiting)]
        placed = self._placed.pop(name, None)
        if placed is not None:
            self._used[placed.host].add(placed.demand, -1)
            self._running[placed.user] -= 1
        if forget:
            self.passed.pop(name, None)

    def is_waiting(self, name: str) -> bool:
        """Whether the job stands in the line."""
        return name in self._waiting

    def occupied(self, host: str) -> list[str]:
        """Names of the jobs that have a place on a host."""
        return [name for name, claim in self._placed.items() if claim.host == host]

    def hosts(self) -> set[str]:
        """Hosts at which anybody waits."""
        return {kin.host for kin in self._kin}

    # -- whose turn ----------------------------------------------------------------------------------------------

    def turn(self, host: str) -> str | None:
        """The job that may start on that host next; None when nobody may now."""
        head: _Kin | None = None
        for kin in self._in_order(host):
            head = head or kin
            if self._fits(kin):
                is_kept = kin is not head and self.passed[self._kin[head][0][1]] >= self._max_bypass
                return None if is_kept else self._kin[kin][0][1]
        return None

    def admit(self, name: str) -> bool:
        """Give the job a place if it is its turn."""
        claim = self._waiting.get(name)
        if claim is None or self.turn(claim.host) != name:
            return False
        head = self._head(claim.host)
        if head is not None and head != name:
            self.passed[head] += 1
        self.occupy(claim)
        return True

    def _head(self, host: str) -> str | None:
        return next((self._kin[kin][0][1] for kin in self._in_order(host)), None)

    def _in_order(self, host: str) -> list[_Kin]:
        """The kins of a host by their first jobs; those stand aside that could never start, or whose user has enough."""
        able = [kin for kin in self._kin if kin.host == host and not self._is_aside(kin)]
        return sorted(able, key=lambda kin: self._rank(kin, self._kin[kin][0]))

    def _is_aside(self, kin: _Kin) -> bool:
        return self._has_enough(kin.user) or self._is_too_large(kin)

    def _has_enough(self, user: str) -> bool:
        return 0 < self._per_user <= self._running[user]

    def _rank(self, kin: _Kin, place: Place) -> Rank:
        return -kin.priority, self._running[kin.user], *place

    def _is_too_large(self, kin: _Kin) -> bool:
        capacity = self._capacities.get(kin.host)
        return capacity is not None and bool(_missing(kin.demand, capacity, _Used()))

    def _fits(self, kin: _Kin) -> bool:
        capacity = self._capacities.get(kin.host)
        return capacity is not None and not _missing(kin.demand, capacity, self._used.get(kin.host) or _Used())

    def first(self, host: str, count: int) -> list[str]:
        """The names at the beginning of a host's line, in order."""
        ranks = (
            ((self._rank(kin, place)), place[1]) for kin in self._in_order(host) for place in self._kin[kin][:count]
        )
        return [name for _, name in nsmallest(count, ranks)]

    # -- and why not ---------------------------------------------------------------------------------------------

    def position(self, name: str) -> int | None:
        """How many stand before the job at its host, plus one; None when it does not stand in the line."""
        claim = self._waiting.get(name)
        if claim is None:
            return None
        mine = self._rank(_kin(claim), claim.place)
        return 1 + sum(self._before(kin, mine) for kin in self._in_order(claim.host))

    def _before(self, kin: _Kin, mine: Rank) -> int:
        """How many of a kin stand before that rank."""
        if (-kin.priority, self._running[kin.user]) != mine[:2]:
            return len(self._kin[kin]) if (-kin.priority, self._running[kin.user]) < mine[:2] else 0
        return bisect_left(self._kin[kin], mine[2:])

    def hindrances(self, name: str) -> list[Blocker]:
        """Everything about capacity and order that keeps a waiting job from starting now; empty when it is its turn."""
        claim = self._waiting.get(name)
        capacity = self._capacities.get(claim.host) if claim else None
        if claim is None or capacity is None or self.turn(claim.host) == name:
            return []
        if _missing(claim.demand, capacity, _Used()):
            return [_too_large(claim, capacity)]
        found = self._shortages(claim, capacity)
        if self._has_enough(claim.user):
            found.append(self._user_cap(claim))
        return [*found, *self._others(claim)]

    def _shortages(self, claim: Claim, capacity: Capacity) -> list[Blocker]:
        used = self._used.get(claim.host) or _Used()
        running = list(islice((n for n, c in self._placed.items() if c.host == claim.host), _NAMED + 1))
        return [
            _shortage(kind, needed, free, total, claim.host, running)
            for kind, needed, free, total in _missing(claim.demand, capacity, used)
        ]

    def _user_cap(self, claim: Claim) -> Blocker:
        who = f"{claim.user!r}" if claim.user else "jobs without submittedBy"
        running = self._running[claim.user]
        return Blocker(
            kind=Reason.USER_CAP,
            message=f"{running} jobs of {who} run already, and each user may run {self._per_user} at once",
            unblocks="one of these jobs ends",
            details={"user": claim.user, "running": running, "limit": self._per_user},
        )

    def _others(self, claim: Claim) -> Iterator[Blocker]:
        mine = self._rank(_kin(claim), claim.place)
        before = [(kin, n) for kin in self._in_order(claim.host) if (n := self._before(kin, mine))]
        count = sum(n for _, n in before)
        if not count:
            return
        head = before[0][0]
        first = self._kin[head][0][1]
        names = list(islice(chain.from_iterable((p[1] for p in self._kin[kin][:n]) for kin, n in before), _NAMED))
        yield Blocker(
            kind=Reason.AHEAD,
            message=f"{count} {'job is' if count == 1 else 'jobs are'} ahead: {_listed(names, count)}; {_why(head, mine)}",
            unblocks="they start, end or are stopped",
            details={"count": count, "first": first},
        )
        if self.passed[first] >= self._max_bypass and not self._fits(head):
            yield Blocker(
                kind=Reason.RESERVED,
                message=f"what comes free is kept for {first!r}, which was passed {self.passed[first]} times",
                unblocks=f"{first!r} starts",
                details={"for": first, "passed": self.passed[first]},
            )


def _kin(claim: Claim) -> _Kin:
    return _Kin(claim.host, claim.priority, claim.user, claim.demand)


def _why(head: _Kin, mine: Rank) -> str:
    """Why the head comes before that rank."""
    if -head.priority < mine[0]:
        return f"the first has a higher priority ({head.priority} over {-mine[0]})"
    return "the first comes earlier by its user's running jobs, or by its time"


def _missing(demand: Demand, capacity: Capacity, used: _Used) -> list[tuple[Reason, int, int, int]]:
    """Kind, needed, free and total of what there is too little of."""
    rows = (
        (Reason.AT_CAPACITY, 1, capacity.jobs - used.jobs, capacity.jobs),
        (Reason.CPU, demand.cpu, *_left(capacity.cpu, used.cpu)),
        (Reason.MEMORY, demand.memory, *_left(capacity.memory, used.memory)),
        (Reason.GPU, demand.gpu, capacity.gpu - used.gpu, capacity.gpu),
    )
    return [(kind, needed, max(free, 0), total) for kind, needed, free, total in rows if needed and needed > free]


def _left(total: int | None, used: int) -> tuple[int, int]:
    return (2**63, 2**63) if total is None else (total - used, total)


def _shortage(kind: Reason, needed: int, free: int, total: int, host: str, running: list[str]) -> Blocker:
    words = {
        Reason.AT_CAPACITY: f"{total} jobs run on {host!r}, and no more may at once",
        Reason.CPU: f"needs {cores(needed)} CPUs, and {cores(free)} of {cores(total)} are free on {host!r}",
        Reason.MEMORY: f"needs {size(needed)} of memory, and {size(free)} of {size(total)} are free on {host!r}",
        Reason.GPU: f"needs {needed} GPUs, and {free} of {total} are free on {host!r}",
    }[kind]
    return Blocker(
        kind=kind,
        message=words,
        unblocks=f"a running job ends: {_listed(running[:_NAMED], len(running))}" if running else "",
        details={"host": host, "needed": needed, "free": free, "total": total, "short": needed - free},
    )


def _too_large(claim: Claim, capacity: Capacity) -> Blocker:
    kind, needed, _, total = _missing(claim.demand, capacity, _Used())[0]
    words = {
        Reason.AT_CAPACITY: f"takes no jobs now ({total} at once)",
        Reason.CPU: f"has {cores(total)} CPUs, and the job asks for {cores(needed)}",
        Reason.MEMORY: f"has {size(total)} of memory, and the job asks for {size(needed)}",
        Reason.GPU: f"has {total} GPUs, and the job asks for {needed}",
    }[kind]
    return Blocker(
        kind=Reason.TOO_LARGE,
        message=f"the whole host {claim.host!r} {words}",
        unblocks="the spec asks for less, names another host, or the host is given more",
        details={"host": claim.host, "what": kind, "needed": needed, "total": total},
    )


def _listed(names: list[str], count: int) -> str:
    return ", ".join(names) + (" and others" if count > len(names) else "")


def cores(nano: int) -> str:
    """Billionths of a core as a person writes cores."""
    return f"{nano / 10**9:g}"


def size(number: int) -> str:
    """Bytes as a person writes them."""
    for unit, factor in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if number >= factor:
            return f"{number / factor:.4g}{unit}"
    return f"{number} bytes"
