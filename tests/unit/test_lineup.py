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
NAMES = [f"j{n}" for n in range(6)]
KEPT = Blocker(kind=Reason.RESERVED, message="kept", details={"for": "j0", "passed": 1})


@st.composite
def standings(draw: st.DrawFn) -> tuple[str, Standing | None]:
    """A job, and where a status puts it."""
    name = draw(st.sampled_from(NAMES))
    status = job_status(
        name,
        draw(st.sampled_from(list(Phase))),
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
    for name, standing in moves:
        walked.place(name, standing)
        walked.order()
        walked.why(name)
    walked.see(HOSTS)
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
