"""The line that operator and API use, driven through ten thousand random traces, and held against its plain twin."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from tests.property.traces import DAWN, Broken, Maker, Replay, Trace, failure, random_trace, real_line, shortest

from opeva_specs.admission import Capacity, Claim, Line
from opeva_specs.terms import Blocker, Demand

BATCH = 1000
ALL = {"AtCapacity", "CpuShort", "MemoryShort", "GpuShort", "TooLarge", "UserCap", "Ahead", "Reserved"}


@pytest.mark.parametrize("batch", range(10))
def test_what_a_line_promises_holds_at_every_step_of_a_thousand_traces(batch: int) -> None:
    kinds, admissions = set(), 0
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        trace = random_trace(seed)
        replay = Replay(trace, real_line(trace))
        try:
            replay.run()
        except Broken as broken:
            short = shortest(trace)
            pytest.fail(f"seed {seed}: {broken}\n{short}\nshortened: {failure(short)}")
        kinds |= replay.kinds
        admissions += replay.admissions
    assert kinds == ALL  # else the traces would not show what they are here to show
    assert admissions > BATCH


class _OwnClaims(Line):
    """A line that sees another claim than the one it is given."""

    def seen(self, claim: Claim) -> Claim:
        raise NotImplementedError

    def wait(self, claim: Claim) -> None:
        super().wait(self.seen(claim))


class NoPriorities(_OwnClaims):
    def seen(self, claim: Claim) -> Claim:
        return replace(claim, priority=0)


class NoUsers(_OwnClaims):
    def seen(self, claim: Claim) -> Claim:
        return replace(claim, user="anybody")


class NoGpus(_OwnClaims):
    def seen(self, claim: Claim) -> Claim:
        return replace(claim, demand=replace(claim.demand, gpu=0))


class NoDemands(_OwnClaims):
    def seen(self, claim: Claim) -> Claim:
        return replace(claim, demand=Demand())


class OneMorePasses(Line):
    def __init__(self, capacities: Mapping[str, Capacity], *, per_user: int = 0, max_bypass: int = 20) -> None:
        super().__init__(capacities, per_user=per_user, max_bypass=max_bypass + 1)


class NobodyPasses(Line):
    def __init__(self, capacities: Mapping[str, Capacity], *, per_user: int = 0, max_bypass: int = 20) -> None:
        super().__init__(capacities, per_user=per_user, max_bypass=0)


class NoCap(Line):
    def __init__(self, capacities: Mapping[str, Capacity], *, per_user: int = 0, max_bypass: int = 20) -> None:
        super().__init__(capacities, max_bypass=max_bypass)


class Forgetful(Line):
    """Whoever stands aside for a moment is counted as never passed."""

    def leave(self, name: str, *, forget: bool = True) -> None:
        super().leave(name)


class OneKindAtATime(Line):
    def hindrances(self, name: str) -> list[Blocker]:
        return super().hindrances(name)[:1]


class StaleCapacity(Line):
    def set_capacity(self, host: str, capacity: Capacity | None) -> None:
        pass


class LateComersFirst(_OwnClaims):
    def seen(self, claim: Claim) -> Claim:
        return replace(claim, queued_at=DAWN - (claim.queued_at - DAWN))


FAULTY = (
    NoPriorities, NoUsers, NoGpus, NoDemands, OneMorePasses, NobodyPasses, NoCap, Forgetful, OneKindAtATime,
    StaleCapacity, LateComersFirst,
)  # fmt: skip


def maker(kind: type[Line]) -> Maker:
    return lambda trace: kind(trace.capacities, per_user=trace.per_user, max_bypass=trace.max_bypass)


def first_failing(make: Maker) -> Trace:
    return next(trace for trace in map(random_trace, range(BATCH)) if failure(trace, make) is not None)


@pytest.mark.parametrize("kind", FAULTY)
def test_a_faulty_line_is_found_out_within_one_batch(kind: type[Line]) -> None:
    assert failure(first_failing(maker(kind)), maker(kind)) is not None


def test_a_failing_trace_is_told_without_what_it_fails_without() -> None:
    make = maker(NoPriorities)
    long = first_failing(make)
    short = shortest(long, make)
    assert failure(short, make) is not None
    assert len(short.events) < len(long.events)
    for number in range(len(short.events)):
        fewer = replace(short, events=short.events[:number] + short.events[number + 1 :])
        assert failure(fewer, make) is None, f"event {number} is not needed"
    assert "Arrive" in str(short)
