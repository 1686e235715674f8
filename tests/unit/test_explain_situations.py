"""Two hundred situations, built so that their blockers are known: exactly those are named; without them it starts."""

import random
from dataclasses import dataclass, replace
from functools import partial

import pytest
from tests.unit.lines import CORE, GI, claim

from opeva_specs.admission import Capacity, Claim, Line
from opeva_specs.terms import Blocker

TOTAL = Capacity(jobs=30, cpu=64 * CORE, memory=64 * GI, gpu=8)
TARGET = claim("target", 50, cpu=4, memory=4, gpu=2)
LACKS = {"CpuShort": "cpu", "MemoryShort": "memory", "GpuShort": "gpu"}
OF_LINE = ("AtCapacity", *LACKS, "UserCap", "Ahead", "Reserved")
AROUND = ("Suspended", "BackOff", "ConfigMissing", "DatasetMissing", "Pulling", "DiskPressure", "EngineUnreachable")
CAP, MAX_BYPASS = 3, 2
idle = partial(claim, cpu=0)  # a job that takes nothing but a place


@dataclass(frozen=True)
class Wanted:
    """What shall keep the target from starting."""

    kinds: frozenset[str]  # of the line
    too_large: frozenset[str]  # in these the host is too small for it
    around: tuple[str, ...]

    @property
    def expected(self) -> list[str]:
        """The kinds, sorted; a job too large for its host has nobody ahead, for it stands in no line."""
        own = self.kinds - self.too_large - ({"Ahead", "Reserved"} if self.too_large else set())
        return sorted([*own, *("TooLarge" for _ in self.too_large), *self.around])


def wanted(chance: random.Random) -> Wanted:
    is_rare = chance.random() < 0.15
    return Wanted(
        kinds=frozenset(kind for kind in OF_LINE if chance.random() < chance.choice((0.1, 0.5))),
        too_large=frozenset(chance.sample(tuple(LACKS), chance.randint(1, 3))) if is_rare else frozenset(),
        around=tuple(chance.sample(AROUND, chance.choice((0, 0, 1, 2, 4)))),
    )


class Situation:
    """A line with the target in it, or beside it when anything around hinders it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.wanted = wanted(self.chance)
        per_user = CAP if "UserCap" in self.wanted.kinds or self.chance.random() < 0.5 else 0
        self.line = Line({"local": TOTAL}, per_user=per_user, max_bypass=MAX_BYPASS)
        self._run()
        self._pass_the_head()
        self._stand_ahead()
        self._stand_behind(per_user)
        self._fill_up()
        self.around = [Blocker(kind=kind, message="it is so") for kind in self.wanted.around]
        if not self.around:
            self.line.wait(self.target)

    @property
    def target(self) -> Claim:
        large = {LACKS[kind]: getattr(TOTAL, LACKS[kind]) + 1 for kind in self.wanted.too_large}
        return replace(TARGET, demand=replace(TARGET.demand, **large))

    def _run(self) -> None:
        """What runs leaves one unit less than the target needs of each kind that shall lack, else enough."""
        for kind, field in LACKS.items():
            need, total = getattr(TARGET.demand, field), getattr(TOTAL, field)
            left = self.chance.randrange(need) if kind in self.wanted.kinds else self.chance.randint(need, total // 2)
            taken = replace(claim("x", cpu=0).demand, **{field: total - left})
            self.line.occupy(replace(idle(f"holds-{field}", user=f"holder of {field}"), demand=taken))
        for number in range(CAP if "UserCap" in self.wanted.kinds else self.chance.randrange(CAP)):
            self.line.occupy(idle(f"of-anna-{number}"))

    def _pass_the_head(self) -> None:
        """A head that needs all there is, passed as often as may be, or once less."""
        is_kept = "Reserved" in self.wanted.kinds
        if not is_kept and self.chance.random() < 0.5:
            return
        self.line.wait(claim("head", 9, cpu=64, memory=64, gpu=8, user="hugo", priority=7))
        for number in range(MAX_BYPASS if is_kept else self.chance.randrange(MAX_BYPASS)):
            self.line.wait(idle(f"passes-{number}", user="pia"))
            assert self.line.admit(f"passes-{number}")
            self.line.leave(f"passes-{number}")

    def _stand_ahead(self) -> None:
        if "Ahead" not in self.wanted.kinds:
            return
        for number in range(self.chance.randint(1, 5)):
            by_time, by_priority = idle(f"ahead-{number}", number), claim(f"ahead-{number}", 60, priority=1, user="bea")
            self.line.wait(
                self.chance.choice((by_time, by_priority, replace(TARGET, name=f"ahead-{number}", priority=2)))
            )

    def _stand_behind(self, per_user: int) -> None:
        """Others who wait, and hinder nobody: later, less urgent, too large, passable, or with a user at the cap."""
        others = [
            claim("later", 60),
            claim("lower", 1, priority=-1, user="bea"),
            claim("huge", 1, cpu=65, priority=9),
            claim("passable", 1, cpu=63, priority=3, user="paul"),
        ]
        if per_user:
            for number in range(CAP):
                self.line.occupy(idle(f"of-dora-{number}", user="dora"))
            others.append(claim("capped", 1, priority=9, user="dora"))
        for one in self.chance.sample(others, self.chance.randrange(len(others) + 1)):
            self.line.wait(one)

    def _fill_up(self) -> None:
        if "AtCapacity" in self.wanted.kinds:
            for number in range(TOTAL.jobs - len(self.line.occupied("local"))):
                self.line.occupy(idle(f"fills-{number}", user="phil"))

    def explain(self) -> list[Blocker]:
        """All that hinders the target; beside the line, it is asked as if it stood in it for a moment."""
        self.line.wait(self.target)
        found = [*self.around, *self.line.hindrances("target")]
        if self.around:
            self.line.leave("target", forget=False)
        return found

    def clear(self) -> None:
        """Let all that was named go: what runs ends, what is around passes, whose turn comes first leaves."""
        self.line.wait(self.target)
        for name in self.line.occupied("local"):
            self.line.leave(name)
        while (name := self.line.turn("local")) not in (None, "target"):
            self.line.leave(name)


@pytest.mark.parametrize("seed", range(200))
def test_exactly_the_known_blockers_are_named_and_once_they_are_gone_it_starts(seed: int) -> None:
    situation = Situation(seed)
    found = situation.explain()
    assert sorted(blocker.kind for blocker in found) == situation.wanted.expected
    assert (situation.line.turn("local") == "target") == (not found)
    situation.clear()
    assert (situation.line.turn("local") == "target") == (not situation.wanted.too_large)


@pytest.mark.parametrize("seed", range(0, 200, 10))
def test_to_be_asked_beside_the_line_changes_nothing_for_others(seed: int) -> None:
    situation = Situation(seed)
    others = [name for name in situation.line.first("local", 99) if name != "target"]
    before = [situation.line.hindrances(name) for name in others], situation.line.position("target")
    situation.explain()
    assert ([situation.line.hindrances(name) for name in others], situation.line.position("target")) == before


@pytest.mark.parametrize("seed", range(0, 200, 10))
def test_blockers_outlast_a_file(seed: int) -> None:
    for blocker in Situation(seed).explain():
        assert Blocker.model_validate_json(blocker.model_dump_json(by_alias=True)) == blocker


def test_the_situations_are_of_all_sorts() -> None:
    all_expected = [tuple(Situation(seed).wanted.expected) for seed in range(200)]
    assert len(set(all_expected)) > 100
    assert sum(not expected for expected in all_expected) >= 5
    for kind in ("TooLarge", *OF_LINE, *AROUND):
        assert sum(kind in expected for expected in all_expected) >= 20, kind
