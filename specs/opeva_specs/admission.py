"""Who may start now, and every reason why not: pure, no clock, no files.

Jobs that wait at a host stand in this order: the higher priority first, then the user who has the least running on all
hosts, then the longest wait. When the head fits, it is its turn. When it does not, the first one behind it that fits
may pass, at most `max_bypass` times; then what comes free is kept for the head. Two kinds stand aside and hinder
nobody: jobs too large for their host, and those of a user who has as many running as one user may.

    line = Line({"local": Capacity(jobs=4, cpu=4 * 10**9, memory=8 * 2**30)})
    line.wait(Claim(...))
    name = line.turn("local")
    line.admit(name)
    line.leave(name)
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from heapq import merge, nsmallest
from itertools import islice
from typing import NamedTuple

from opeva_specs import blockers
from opeva_specs.blockers import Lead, Names
from opeva_specs.room import Capacity as Capacity
from opeva_specs.room import Claim as Claim
from opeva_specs.room import Place, Room, Shortage, amounts
from opeva_specs.terms import Blocker, Demand

_NAMED = 3  # of the jobs ahead or in the way, so many are told by name


class _Group(NamedTuple):
    """Waiting jobs of one user with one priority; the first of them is the user's `base`-th to run, counted from 0."""

    priority: int
    user: str
    base: int
    lists: list[list[Place]]

    def before(self, number: int, place: Place) -> int:
        """How many of them come before one that is its user's `number`-th to run."""
        turns = number - self.base
        if turns < 0:
            return 0
        earlier = sum(bisect_left(places, place) for places in self.lists)
        return turns + 1 if earlier > turns else min(turns, sum(map(len, self.lists)))


class Line:
    """The jobs that wait for nothing but their turn, and those that have a place; not thread-safe."""

    def __init__(self, capacities: Mapping[str, Capacity], *, per_user: int = 0, max_bypass: int = 20) -> None:
        self._rooms = defaultdict(Room, {host: Room(capacity) for host, capacity in capacities.items()})
        self._per_user, self._max_bypass = per_user, max_bypass
        self._waiting: dict[str, Claim] = {}
        self._placed: dict[str, Claim] = {}
        self._running: Counter[str] = Counter()  # jobs of each user
        self.passed: Counter[str] = Counter()  # how often a job at the head was passed

    # -- who is there --------------------------------------------------------------------------------------------

    def set_capacity(self, host: str, capacity: Capacity | None) -> None:
        """What a host gives from now on; None: nothing is known of it, and nobody starts there."""
        self._rooms[host].capacity = capacity

    def wait(self, claim: Claim) -> None:
        """Let a job stand in the line, or stand elsewhere in it; it gives a place back that it had."""
        if self._waiting.get(claim.name) == claim:
            return
        self.leave(claim.name, forget=False)
        self._waiting[claim.name] = claim
        self._rooms[claim.host].add(claim)

    def occupy(self, claim: Claim) -> None:
        """Note that a job has a place, whether or not there is room for it."""
        if self._placed.get(claim.name) == claim:
            return
        self.leave(claim.name)
        self._placed[claim.name] = claim
        self._rooms[claim.host].placed[claim.name] = claim
        self._rooms[claim.host].use(claim.demand, 1)
        self._running[claim.user] += 1

    def leave(self, name: str, *, forget: bool = True) -> None:
        """Take a job out, wherever it is; fine if it is nowhere."""
        waiting = self._waiting.pop(name, None)
        if waiting is not None:
            self._rooms[waiting.host].remove(waiting)
        placed = self._placed.pop(name, None)
        if placed is not None:
            del self._rooms[placed.host].placed[name]
            self._rooms[placed.host].use(placed.demand, -1)
            self._running[placed.user] -= 1
            if not self._running[placed.user]:
                del self._running[placed.user]
        if forget:
            self.passed.pop(name, None)

    def is_waiting(self, name: str) -> bool:
        """Whether the job stands in the line."""
        return name in self._waiting

    def occupied(self, host: str) -> list[str]:
        """Names of the jobs that have a place on a host."""
        return list(self._rooms[host].placed)

    def hosts(self) -> set[str]:
        """Hosts at which anybody waits."""
        return {host for host, room in self._rooms.items() if room.lanes}

    # -- whose turn ----------------------------------------------------------------------------------------------

    def turn(self, host: str) -> str | None:
        """The job that may start on that host next; None when nobody may now."""
        first = self._first(host, self._rooms[host].fitting())
        if first is None:
            return None
        head = self._head(host)
        return None if head is not None and head != first and self._is_kept_for(head) else first

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
        return self._first(host, self._rooms[host].able())

    def _is_kept_for(self, head: str) -> bool:
        return self.passed[head] >= self._max_bypass

    def _first(self, host: str, demands: Container[Demand]) -> str | None:
        """Of those who ask for one of these and do not stand aside, the first in order."""
        lanes = self._rooms[host].lanes
        for priority in sorted(lanes, reverse=True):
            ranks = (
                (self._running.get(user, 0), min(fronts))
                for user, lane in lanes[priority].items()
                if not self._has_enough(user)
                and (fronts := [places[0] for demand, places in lane.items() if demand in demands])
            )
            found = min(ranks, default=None)
            if found is not None:
                return found[1][1]
        return None

    def _has_enough(self, user: str) -> bool:
        return 0 < self._per_user <= self._running.get(user, 0)

    # -- in which order ------------------------------------------------------------------------------------------

    def position(self, name: str) -> int | None:
        """As the how many-th the job would start if its host had room for all and none ended.

        None for one that does not stand in the line, or is too large for its host.
        """
        claim = self._waiting.get(name)
        able = self._rooms[claim.host].able() if claim else set()
        if claim is None or claim.demand not in able:
            return None
        return 1 + self._before(claim, self._groups(claim.host, able, claim.user))

    def first(self, host: str, count: int) -> list[str]:
        """The names of those that would start first, in order."""
        return _names(self._groups(host, self._rooms[host].able()), count)

    def _groups(self, host: str, demands: Container[Demand], user: str | None = None) -> list[_Group]:
        """Those who ask for one of these, the highest priority first, without users who have enough, but with that one.

        Whoever starts adds to what its user has running: jobs of one user do not start in a row before all others.
        """
        groups, running = [], self._running.copy()
        lanes = self._rooms[host].lanes
        for priority in sorted(lanes, reverse=True):
            for name, lane in lanes[priority].items():
                lists = [places for demand, places in lane.items() if demand in demands]
                if lists and (name == user or not self._has_enough(name)):
                    groups.append(_Group(priority, name, running[name], lists))
                    running[name] += sum(map(len, lists))
        return groups

    def _before(self, claim: Claim, groups: list[_Group]) -> int:
        """How many of the groups, of which one is its own, come before that job."""
        own = next(g for g in groups if (g.priority, g.user) == (claim.priority, claim.user))
        number = own.base + sum(bisect_left(places, claim.place) for places in own.lists)
        higher = sum(len(places) for g in groups if g.priority > claim.priority for places in g.lists)
        return higher + sum(g.before(number, claim.place) for g in groups if g.priority == claim.priority)

    # -- and why not ---------------------------------------------------------------------------------------------

    def hindrances(self, name: str) -> list[Blocker]:
        """Everything about capacity and order that keeps a waiting job from starting now; empty when it is its turn.

        Of a host of which nothing is known it tells the order only: why nothing is known, others know.
        """
        claim = self._waiting.get(name)
        if claim is None or self.turn(claim.host) == name:
            return []
        short = self._rooms[claim.host].short(claim.demand)
        found = [self._shortage(claim.host, s) for s in short]
        if self._has_enough(claim.user):
            running = _some(c for c in self._placed.values() if c.user == claim.user)
            found.append(blockers.user_cap(claim.user, self._per_user, running))
        return found if any(s.is_forever for s in short) else [*found, *self._others(claim)]

    def _shortage(self, host: str, short: Shortage) -> Blocker:
        if short.is_forever:
            return blockers.too_large(host, short)
        placed = self._rooms[host].placed.values()
        return blockers.shortage(host, short, _some(c for c in placed if dict(amounts(c.demand))[short.kind]))

    def _others(self, claim: Claim) -> Iterator[Blocker]:
        """Those who come first and would take what the job needs, and the one whom it could pass but may not."""
        rivals = self._rooms[claim.host].rivals(claim.demand)
        groups = self._groups(claim.host, rivals, claim.user)
        count = self._before(claim, groups)
        if count:
            names = _names(groups, min(count, _NAMED))
            yield blockers.ahead(Names(names, count), self._lead(claim, self._waiting[names[0]]))
        head = self._head(claim.host)
        if head is None or self._waiting[head].demand in rivals or self._rank(self._waiting[head]) >= self._rank(claim):
            return
        if self._is_kept_for(head):
            yield blockers.reserved(head, self.passed[head])

    def _rank(self, claim: Claim) -> tuple[int, int, Place]:
        return -claim.priority, self._running.get(claim.user, 0), claim.place

    def _lead(self, claim: Claim, first: Claim) -> Lead:
        if first.priority != claim.priority:
            return Lead("priority", first.priority, claim.priority)
        theirs, mine = self._running[first.user], self._running[claim.user]
        return Lead("user", theirs, mine) if theirs != mine else Lead("time")


def _names(groups: list[_Group], count: int) -> list[str]:
    """The first names of these groups in order."""

    def front(group: _Group) -> tuple[int, int, Place]:
        return -group.priority, group.base, min(places[0] for places in group.lists)

    ranks = (
        (-group.priority, group.base + number, place)
        for group in nsmallest(count, groups, key=front)  # any other has so many before its first
        for number, place in enumerate(islice(merge(*group.lists), count))
    )
    return [name for _, _, (_, name) in nsmallest(count, ranks)]


def _some(claims: Iterable[Claim]) -> Names:
    """Those of them that wait or run longest, and how many there are."""
    places = [claim.place for claim in claims]
    return Names([name for _, name in nsmallest(_NAMED, places)], len(places))
