"""The line once more, as plainly as can be: every answer is worked out anew from lists. Slow, and easy to believe."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from opeva_specs.admission import Capacity, Claim

KINDS = {"CpuShort": "cpu", "MemoryShort": "memory", "GpuShort": "gpu"}
Facts = dict[tuple[str, str], dict[str, Any]]


class PlainLine:
    """What is known of every job, and what follows from it."""

    def __init__(self, capacities: dict[str, Capacity], per_user: int, max_bypass: int) -> None:
        self.capacities: dict[str, Capacity | None] = dict(capacities)
        self.per_user, self.max_bypass = per_user, max_bypass
        self.waiting: list[Claim] = []
        self.placed: list[Claim] = []
        self.passes: dict[str, int] = {}

    def take_out(self, name: str, *, forget: bool) -> None:
        """The job is nowhere now."""
        self.waiting = [c for c in self.waiting if c.name != name]
        self.placed = [c for c in self.placed if c.name != name]
        if forget:
            self.passes.pop(name, None)

    def waits(self, claim: Claim) -> None:
        """The job waits now, wherever it was."""
        self.take_out(claim.name, forget=False)
        self.waiting.append(claim)

    def runs(self, claim: Claim) -> None:
        """The job runs now, wherever it was."""
        if claim not in self.placed:
            self.take_out(claim.name, forget=True)
            self.placed.append(claim)

    # -- what there is -------------------------------------------------------------------------------------------

    def running(self, user: str) -> int:
        """How many jobs of a user run."""
        return len([c for c in self.placed if c.user == user])

    def left(self, host: str, kind: str) -> float:
        """What is left of a kind; less than nothing on a host that was cut down."""
        capacity = self.capacities.get(host)
        if capacity is None:
            return 0
        total = getattr(capacity, kind)
        if total is None:
            return float("inf")
        return float(total - sum(getattr(c.demand, kind) for c in self.placed if c.host == host))

    def places_left(self, host: str) -> int:
        """How many more jobs may run."""
        capacity = self.capacities.get(host)
        return 0 if capacity is None else capacity.jobs - len([c for c in self.placed if c.host == host])

    def lacks(self, claim: Claim) -> list[str]:
        """The kinds of which the job needs more than is left."""
        needs = {kind: getattr(claim.demand, field) for kind, field in KINDS.items()}
        return [kind for kind, need in needs.items() if need and need > self.left(claim.host, KINDS[kind])]

    def fits(self, claim: Claim) -> bool:
        """Whether there is room for the job now."""
        return (
            self.capacities.get(claim.host) is not None and self.places_left(claim.host) > 0 and not self.lacks(claim)
        )

    def lacks_for_ever(self, claim: Claim) -> list[str]:
        """The kinds of which the job needs more than the host has."""
        capacity = self.capacities.get(claim.host)
        totals = {kind: getattr(capacity, field) if capacity else None for kind, field in KINDS.items()}
        return [k for k, field in KINDS.items() if totals[k] is not None and getattr(claim.demand, field) > totals[k]]

    def has_enough(self, user: str) -> bool:
        """Whether the user has as many jobs running as one may."""
        return self.per_user > 0 and self.running(user) >= self.per_user

    # -- the order -----------------------------------------------------------------------------------------------

    def standing(self, host: str, even: str | None = None) -> list[Claim]:
        """Who waits at a host and does not stand aside; jobs of the user `even` do not."""
        here = [c for c in self.waiting if c.host == host and not self.lacks_for_ever(c)]
        return [c for c in here if c.user == even or not self.has_enough(c.user)]

    def rank(self, claim: Claim) -> tuple[Any, ...]:
        """Priority, then the user with the least running, then the longest wait."""
        return -claim.priority, self.running(claim.user), claim.queued_at, claim.name

    def head(self, host: str) -> Claim | None:
        """The first in the line."""
        return min(self.standing(host), key=self.rank, default=None)

    def is_kept_for(self, head: Claim) -> bool:
        """Whether nobody may pass the head any more."""
        return self.passes.get(head.name, 0) >= self.max_bypass

    def turn(self, host: str) -> str | None:
        """Whose turn it is."""
        for place, claim in enumerate(sorted(self.standing(host), key=self.rank)):
            if self.fits(claim):
                head = self.head(host)
                return None if place and head and self.is_kept_for(head) else claim.name
        return None

    def procession(self, claims: Iterable[Claim]) -> list[Claim]:
        """In which order these would start, if there were room for all and none ended."""
        counts = Counter({c.user: self.running(c.user) for c in self.waiting})
        left, order = list(claims), []
        while left:
            first = min(left, key=lambda c: (-c.priority, counts[c.user], c.queued_at, c.name))
            left.remove(first)
            order.append(first)
            counts[first.user] += 1
        return order

    def position(self, claim: Claim) -> int | None:
        """As the how many-th it would start."""
        if self.lacks_for_ever(claim):
            return None
        return 1 + self.procession(self.standing(claim.host, claim.user)).index(claim)

    # -- why not -------------------------------------------------------------------------------------------------

    def hindrances(self, claim: Claim) -> Facts:
        """By kind (and by what a job is too large in), the figures of everything that hinders the job."""
        if self.turn(claim.host) == claim.name:
            return {}
        facts = self.shortages(claim)
        if self.has_enough(claim.user):
            facts["UserCap", ""] = {"running": self.running(claim.user), "limit": self.per_user, "user": claim.user}
        if not self.lacks_for_ever(claim):
            facts |= self.ahead(claim) | self.reserved(claim)
        return facts

    def shortages(self, claim: Claim) -> Facts:
        """What of the host there is too little of."""
        facts: Facts = {}
        capacity = self.capacities.get(claim.host)
        if capacity is None:
            return facts
        if self.places_left(claim.host) < 1:
            facts["AtCapacity", ""] = _amounts(1, self.places_left(claim.host), capacity.jobs)
        for kind in self.lacks(claim):
            need, total = getattr(claim.demand, KINDS[kind]), getattr(capacity, KINDS[kind])
            if kind in self.lacks_for_ever(claim):
                facts["TooLarge", kind] = {"needed": need, "total": total, "short": need - total}
            else:
                facts[kind, ""] = _amounts(need, self.left(claim.host, KINDS[kind]), total)
        return facts

    def rivals(self, claim: Claim) -> list[Claim]:
        """Who could start as soon as the job could, the job among them."""
        room = {kind: max(self.left(claim.host, kind), getattr(claim.demand, kind)) for kind in KINDS.values()}
        standing = self.standing(claim.host, claim.user)
        return [c for c in standing if all(getattr(c.demand, kind) <= room[kind] for kind in room)]

    def ahead(self, claim: Claim) -> Facts:
        """Who would take the room that the job needs before it does."""
        order = self.procession(self.rivals(claim))
        before = order[: order.index(claim)]
        if not before:
            return {}
        by = "time" if self.running(before[0].user) == self.running(claim.user) else "user"
        by = "priority" if before[0].priority > claim.priority else by
        names = [c.name for c in before[:3]]
        return {("Ahead", ""): {"count": len(before), "first": names[0], "names": names, "by": by}}

    def reserved(self, claim: Claim) -> Facts:
        """For whom the room is kept that the job could have."""
        head = self.head(claim.host)
        if head is None or head in self.rivals(claim) or not self.is_kept_for(head):
            return {}
        if self.rank(head) >= self.rank(claim):
            return {}
        return {("Reserved", ""): {"for": head.name, "passed": self.passes.get(head.name, 0)}}


def _amounts(needed: int, left: float, total: int) -> dict[str, Any]:
    return {"needed": needed, "free": max(left, 0), "total": total, "short": needed - left}
