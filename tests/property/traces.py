"""Traces: random things that happen to a line, replayed step by step; all that it says is held against the truth."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from tests.property.plain_line import Facts, PlainLine

from opeva_specs.admission import Capacity, Claim, Line
from opeva_specs.terms import Blocker, Demand

DAWN = datetime(2026, 1, 1, tzinfo=UTC)
CORE, GI = 10**9, 2**30
HOSTS = ("local", "big")
NAMES = tuple("abcdefghijkl")
USERS = ("anna", "bea", "carl", "")


class Broken(AssertionError):
    """Something that must always hold did not, at that step."""

    def __init__(self, words: str, step: int = -1) -> None:
        super().__init__(words)
        self.step = step


@dataclass(frozen=True, slots=True)
class Arrive:
    """A job is queued, or queued anew with another claim."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Adopt:
    """A job is found running, whether or not there is room."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class End:
    """A job ends, or is stopped while it waits."""

    name: str


@dataclass(frozen=True, slots=True)
class Aside:
    """A job waits for something else than its turn."""

    name: str


@dataclass(frozen=True, slots=True)
class Back:
    """A job that stood aside comes back."""

    name: str


@dataclass(frozen=True, slots=True)
class Resize:
    """A host gives something else from now on; None: nobody knows what."""

    host: str
    capacity: Capacity | None


@dataclass(frozen=True, slots=True)
class Admit:
    """Whose turn it is starts."""

    host: str


Event = Arrive | Adopt | End | Aside | Back | Resize | Admit


@dataclass(frozen=True, slots=True)
class Trace:
    """What a line is made of, and what happens to it."""

    capacities: dict[str, Capacity]
    per_user: int
    max_bypass: int
    events: tuple[Event, ...]

    def __str__(self) -> str:
        head = f"capacities={self.capacities} per_user={self.per_user} max_bypass={self.max_bypass}"
        return "\n".join((head, *(f"{number:3} {event}" for number, event in enumerate(self.events))))


def random_trace(seed: int) -> Trace:
    """Always the same trace for the same seed; most are short, some are long."""
    chance = random.Random(seed)
    hosts = HOSTS[: chance.choice((1, 1, 2))]
    users, levels = chance.sample(USERS, chance.randint(1, 4)), chance.choice((1, 1, 2, 3))
    names = NAMES[: chance.randint(3, len(NAMES))]
    steps = 120 if chance.random() < 0.01 else chance.randint(5, 22)
    busy = _Chance(chance, hosts, tuple(users), levels, names)
    return Trace(
        capacities={host: busy.capacity() for host in hosts},
        per_user=chance.choice((0, 0, 0, 1, 2, 3)),
        max_bypass=chance.choice((0, 1, 1, 2, 3)),
        events=tuple(event for _ in range(steps) for event in busy.events()),
    )


@dataclass(frozen=True, slots=True)
class _Chance:
    """Draws the parts of a trace."""

    chance: random.Random
    hosts: tuple[str, ...]
    users: tuple[str, ...]
    levels: int
    names: tuple[str, ...]

    def events(self) -> list[Event]:
        """One thing that happens; most often room is then used at once, as far as it goes."""
        pick, name = self.chance.random(), self.chance.choice(self.names)
        happens: Event
        if pick < 0.55:
            happens = Arrive(self.claim(name))
        elif pick < 0.8:
            happens = End(name)
        elif pick < 0.86:
            happens = Aside(name)
        elif pick < 0.92:
            happens = Back(name)
        elif pick < 0.95:
            happens = Adopt(self.claim(name))
        else:
            capacity = self.capacity() if self.chance.random() < 0.9 else None
            happens = Resize(self.chance.choice(self.hosts), capacity)
        starts = self.chance.choice((0, 1, 1, 3))
        return [happens, *(Admit(host) for host in self.hosts for _ in range(starts))]

    def claim(self, name: str) -> Claim:
        """A job; several have the same instant, as files that come with one `git pull` do."""
        return Claim(
            name=name,
            host=self.chance.choice(self.hosts),
            queued_at=DAWN + timedelta(minutes=self.chance.randrange(6)),
            priority=self.chance.randrange(self.levels),
            user=self.chance.choice(self.users),
            demand=Demand(
                cpu=self.chance.choice((0, 1, 1, 2, 3)) * CORE // 2,
                memory=self.chance.choice((0, 0, 1, 1, 2, 3)) * GI,
                gpu=self.chance.choice((0, 0, 0, 0, 0, 1, 2)),
            ),
        )

    def capacity(self) -> Capacity:
        """What a host gives: now and then nothing at all of a kind, now and then as much as one likes."""
        return Capacity(
            jobs=self.chance.choice((0, 1, 2, 3, 5, 9, 9)),
            cpu=self.chance.choice((None, 1 * CORE, 3 * CORE // 2, 2 * CORE, 3 * CORE)),
            memory=self.chance.choice((None, None, 2 * GI, 3 * GI, 4 * GI)),
            gpu=self.chance.choice((0, 1, 2, 2)),
        )


class Replay:
    """Drives a line and its plain twin through a trace; raises Broken at the first difference or broken promise."""

    def __init__(self, trace: Trace, line: Line) -> None:
        self.trace, self.line = trace, line
        self.plain = PlainLine(trace.capacities, trace.per_user, trace.max_bypass)
        self.aside: dict[str, Claim] = {}
        self.admissions = 0
        self.kinds: set[str] = set()  # of hindrance that were met

    def run(self) -> None:
        """All of it, looking after every step."""
        for step, event in enumerate(self.trace.events):
            try:
                if self._happen(event):
                    self._look()
            except Broken as broken:
                broken.step = step
                raise
            except Exception as error:
                raise Broken(repr(error), step) from error

    def _happen(self, event: Event) -> bool:
        """Whether anything may have changed."""
        match event:
            case Arrive(claim):
                self.aside.pop(claim.name, None)
                self.line.wait(claim)
                self.plain.waits(claim)
            case Adopt(claim):
                self.aside.pop(claim.name, None)
                self.line.occupy(claim)
                self.plain.runs(claim)
            case End(name):
                self.aside.pop(name, None)
                self.line.leave(name)
                self.plain.take_out(name, forget=True)
            case Aside(name):
                self._stand_aside(name)
            case Back(name):
                self._come_back(name)
            case Resize(host, capacity):
                self.line.set_capacity(host, capacity)
                self.plain.capacities[host] = capacity
            case Admit(host):
                return self._admit(host)
        return True

    def _stand_aside(self, name: str) -> None:
        found = [c for c in self.plain.waiting if c.name == name]
        if found:
            self.aside[name] = found[0]
            self.line.leave(name, forget=False)
            self.plain.take_out(name, forget=False)

    def _come_back(self, name: str) -> None:
        claim = self.aside.pop(name, None)
        if claim is not None:
            self.line.wait(claim)
            self.plain.waits(claim)

    def _admit(self, host: str) -> bool:
        name = self.line.turn(host)
        for claim in self.plain.waiting:
            if claim.host == host and claim.name != name:
                _hold(not self.line.admit(claim.name), f"{claim.name!r} was let in, and it was not its turn")
        if name is None:
            self._check_nobody_waits_at_idle(host)
            return False
        claim = next(c for c in self.plain.waiting if c.name == name)
        self._check_admission(claim)
        _hold(self.line.admit(name), f"{name!r} was not let in, and it was its turn")
        self.plain.runs(claim)
        self.admissions += 1
        self._check_capacity(claim)
        return True

    # -- the promises, each told by itself -----------------------------------------------------------------------

    def _check_admission(self, claim: Claim) -> None:
        plain = self.plain
        others = [c for c in plain.standing(claim.host) if c != claim]
        for other in others:
            is_higher = other.priority > claim.priority and plain.fits(other)
            _hold(not is_higher, f"{claim.name!r} starts before {other.name!r}, which fits and has a higher priority")
            if (other.priority, other.demand) == (claim.priority, claim.demand) and other.user != claim.user:
                lead = plain.running(claim.user) + 1 - plain.running(other.user)
                _hold(
                    lead < 2, f"{claim.user!r} has {lead} more running than {other.user!r}, whose {other.name!r} waits"
                )
        _hold(not plain.has_enough(claim.user), f"{claim.user!r} has enough running")
        head = plain.head(claim.host)
        if head is not None and head != claim:
            plain.passes[head.name] = plain.passes.get(head.name, 0) + 1
            count = plain.passes[head.name]
            _hold(count <= plain.max_bypass, f"{head.name!r} at the head was passed {count} times")

    def _check_capacity(self, claim: Claim) -> None:
        plain = self.plain
        _hold(plain.places_left(claim.host) >= 0, f"too many jobs on {claim.host!r}")
        for kind in ("cpu", "memory", "gpu"):
            is_over = getattr(claim.demand, kind) and plain.left(claim.host, kind) < 0
            _hold(not is_over, f"{claim.name!r} was let in and there is too little {kind}")

    def _check_nobody_waits_at_idle(self, host: str) -> None:
        is_idle = not any(c.host == host for c in self.plain.placed)
        fitting = [c.name for c in self.plain.standing(host) if self.plain.fits(c)]
        _hold(not (is_idle and fitting), f"{host!r} is idle, and {fitting} fit and wait")

    # -- what the line says --------------------------------------------------------------------------------------

    def _look(self) -> None:
        line, plain = self.line, self.plain
        _same("hosts", line.hosts(), {c.host for c in plain.waiting})
        for host in self.trace.capacities:
            _same("turn", line.turn(host), plain.turn(host))
            _same("occupied", set(line.occupied(host)), {c.name for c in plain.placed if c.host == host})
            order = [c.name for c in plain.procession(plain.standing(host))]
            _same("first", (line.first(host, 2), line.first(host, 99)), (order[:2], order))
        for claim in plain.waiting:
            self._look_at(claim)
        for name in self.aside:
            _same("aside", (line.is_waiting(name), line.position(name), line.hindrances(name)), (False, None, []))

    def _look_at(self, claim: Claim) -> None:
        name = claim.name
        _hold(self.line.is_waiting(name), f"{name!r} was lost")
        _same(f"position of {name!r}", self.line.position(name), self.plain.position(claim))
        found = self.line.hindrances(name)
        is_known = self.plain.capacities.get(claim.host) is not None
        is_turn = self.line.turn(claim.host) == name
        _hold(is_turn or bool(found) or not is_known, f"{name!r} waits, and nothing is said why")
        facts = self.plain.hindrances(claim)
        _same(f"hindrances of {name!r}", told(found, facts), facts)
        _hold(all(b.message and b.unblocks for b in found), f"too few words about {name!r}")
        self.kinds.update(kind for kind, _ in facts)


def told(blockers: list[Blocker], facts: Facts) -> Facts:
    """The figures of these blockers that the facts know of, by kind and by what a job is too large in."""
    keyed = {(str(b.kind), str(b.details.get("what", ""))): b.details for b in blockers}
    _hold(len(keyed) == len(blockers), "one kind is told twice")
    return {key: {k: v for k, v in found.items() if k in facts.get(key, found)} for key, found in keyed.items()}


def _hold(is_true: bool, otherwise: str) -> None:
    if not is_true:
        raise Broken(otherwise)


def _same(what: str, said: object, truth: object) -> None:
    if said != truth:
        raise Broken(f"{what}: said {said}, true is {truth}")


Maker = Callable[[Trace], Line]


def real_line(trace: Trace) -> Line:
    """The line that operator and API use."""
    return Line(trace.capacities, per_user=trace.per_user, max_bypass=trace.max_bypass)


def failure(trace: Trace, make: Maker = real_line) -> Broken | None:
    """What breaks in a trace, if anything does."""
    try:
        Replay(trace, make(trace)).run()
    except Broken as error:
        return error
    return None


def shortest(trace: Trace, make: Maker = real_line) -> Trace:
    """The beginning of a failing trace up to where it fails, without the events that it fails without."""
    broken = failure(trace, make)
    while broken is not None:
        trace = replace(trace, events=trace.events[: broken.step + 1])
        without = (replace(trace, events=trace.events[:n] + trace.events[n + 1 :]) for n in range(len(trace.events)))
        shorter = next((t for t in without if failure(t, make) is not None), None)
        if shorter is None:
            return trace
        trace, broken = shorter, failure(shorter, make)
    return trace
