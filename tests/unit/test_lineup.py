"""The line that the API keeps: however its jobs came to stand where they stand, it tells the same."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from opeva_api.lineup import Lineup
from opeva_api.standing import Standing, of_status
from opeva_api.testing import START, job_status
from opeva_specs.settings import Settings
from opeva_specs.status import Phase, Reason
from opeva_specs.terms import Blocker, Demand, Terms

SETTINGS = Settings(max_jobs_per_user=2, max_bypass=1)
HOSTS = {"local": {"capacity": {"jobs": 2, "cpu": 4, "memory": 4, "gpu": 1}}, "far": {"capacity": {"jobs": 1}}}
NAMES = [f"j{n}" for n in range(4)]
KEPT = Blocker(kind=Reason.RESERVED, message="kept", details={"for": "j0", "passed": 1})


@st.composite
def standings(draw: st.DrawFn) -> tuple[str, Standing | None]:
    """A job, and where a status puts it."""
    name = draw(st.sampled_from(NAMES))
    status = job_status(
        name,
        draw(st.sampled_from([Phase.QUEUED, Phase.QUEUED, Phase.RUNNING, Phase.FINISHED])),
        reason=draw(st.sampled_from(["AtCapacity", "BackOff", "DiskPressure", "Unkillable"])),
        queued_at=START + timedelta(seconds=draw(st.integers(0, 3))),
        host=draw(st.sampled_from(["local", "far", "nowhere"])),
        demand=Demand(draw(st.integers(0, 5)), draw(st.integers(0, 5)), draw(st.integers(0, 1))),
        terms=Terms(priority=draw(st.integers(0, 1))),
        job_info={"submitted_by": draw(st.sampled_from(["ann", "bob"]))},
        blockers=(KEPT,) if draw(st.booleans()) else (),
    ).model_dump(mode="json", by_alias=True, exclude_none=True)
    return name, of_status(status["metadata"], status["status"], SETTINGS.default_demand)


def lineup(placed: dict[str, Standing | None]) -> Lineup:
    found = Lineup(SETTINGS)
    found.see(HOSTS)
    for name, standing in placed.items():
        found.place(name, standing)
    return found


@settings(max_examples=200, deadline=None)
@given(st.lists(standings(), max_size=25))
def test_the_line_is_a_matter_of_where_jobs_stand_not_of_how_they_came_there(
    moves: list[tuple[str, Standing | None]],
) -> None:
    walked = Lineup(SETTINGS)
    walked.see(HOSTS)
    for name, standing in moves:
        walked.place(name, standing)
        walked.order()
    fresh = lineup(dict(moves))
    assert walked.order() == fresh.order()
    for name in NAMES:
        told, expected = walked.why(name), fresh.why(name)
        assert told.position == expected.position
        assert kinds(told.hindrances) == kinds(expected.hindrances)


def kinds(hindrances: tuple[Blocker, ...] | None) -> list[str] | None:
    return None if hindrances is None else [blocker.kind for blocker in hindrances]


@settings(max_examples=200, deadline=None)
@given(st.lists(standings(), max_size=12))
def test_whoever_waits_unhindered_is_the_only_one_of_its_host(moves: list[tuple[str, Standing | None]]) -> None:
    found = lineup(dict(moves))
    free = [s.claim.host for s in found.order() if not s.is_aside and found.why(s.claim.name).hindrances == ()]
    assert len(free) == len(set(free))
    waiting = {name for name, s in dict(moves).items() if s is not None and not s.is_placed}
    assert {standing.claim.name for standing in found.order()} == waiting


def standing(name: str, phase: Phase = Phase.QUEUED, cpu: int = 1, **told: object) -> Standing | None:
    """Where a status puts a job that was queued after those of smaller names."""
    queued_at = START + timedelta(seconds=int(name[1:]))
    told = {"reason": "AtCapacity", "demand": Demand(cpu), "queued_at": queued_at} | told
    status = job_status(name, phase, **told).model_dump(mode="json", by_alias=True, exclude_none=True)
    return of_status(status["metadata"], status["status"], SETTINGS.default_demand)


def test_a_process_that_cannot_be_killed_holds_no_place() -> None:
    assert standing("j1", Phase.STOPPING, reason=Reason.UNKILLABLE) is None
    assert standing("j1", Phase.STOPPING, reason=Reason.STOPPED_BY_USER) is not None


def test_a_job_that_steps_aside_holds_nobody_up() -> None:
    found = lineup({"j1": standing("j1", cpu=4), "j2": standing("j2", cpu=4)})
    assert found.why("j2").position == 2
    found.place("j1", standing("j1", cpu=4, reason="BackOff"))
    assert (found.why("j2").position, found.why("j2").hindrances, found.why("j1").position) == (1, (), None)


def test_room_is_told_to_be_kept_only_as_long_as_the_operator_says_so() -> None:
    jobs = {"j0": standing("j0", cpu=4), "j1": standing("j1", Phase.RUNNING), "j2": standing("j2")}
    found = lineup(jobs | {"j3": standing("j3", blockers=(KEPT,))})
    assert kinds(found.why("j2").hindrances) == ["Reserved"]
    found.place("j3", standing("j3"))
    assert kinds(found.why("j2").hindrances) == []
