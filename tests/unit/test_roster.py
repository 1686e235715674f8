"""What is known of every job at every moment: places, turns, and what files are known to hold."""

import pytest
from tests.unit.situations import ago, ended, running, status

from opeva_operator.roster import Roster
from opeva_specs.admission import Capacity, Line
from opeva_specs.specfiles import Known
from opeva_specs.status import JobStatus, Reason, changed, condition, with_conditions
from opeva_specs.terms import Demand
from opeva_specs.wanted import Doc


@pytest.fixture
def woken() -> list[str]:
    return []


@pytest.fixture
def roster(woken: list[str]) -> Roster:
    return Roster(Line({"local": Capacity(jobs=2)}), Demand(), woken.append)


def queued(seconds: int) -> JobStatus:
    """A job that is queued since so many seconds."""
    return status(queued_at=ago(seconds))


def in_file(told: JobStatus, source: str, source_hash: str, documents: int = 1, digest: str = "d1") -> JobStatus:
    facts = {"source": source, "source_hash": source_hash, "source_documents": documents, "digest": digest}
    moved: JobStatus = changed(told, metadata=changed(told.metadata, **facts))
    return moved


def test_the_longest_waiting_are_admitted_and_the_others_told_why_not(roster: Roster) -> None:
    for name, seconds in (("late", 1), ("first", 30), ("second", 20)):
        roster.put(name, queued(seconds))
    assert not roster.admit("late")
    assert [b.kind for b in roster.hindrances("late")] == [Reason.AHEAD]
    assert roster.admit("first")
    assert roster.admit("second")
    assert not roster.admit("late")
    assert [b.kind for b in roster.hindrances("late")] == [Reason.AT_CAPACITY]
    assert roster.running() == {"first", "second"}


def test_asking_twice_takes_one_place(roster: Roster) -> None:
    roster.put("a", queued(9))
    roster.put("b", queued(5))
    assert roster.admit("a") and roster.admit("a") and roster.admit("b")


def test_an_end_wakes_whose_turn_it_is(roster: Roster, woken: list[str]) -> None:
    for name in ("a", "b"):
        roster.put(name, running())
    roster.put("c", queued(5))
    roster.put("d", queued(4))
    woken.clear()
    roster.put("a", ended())
    assert woken == ["c"]


def test_a_job_that_waits_for_something_else_stands_in_nobodys_way(roster: Roster, woken: list[str]) -> None:
    roster.put("busy", running())
    roster.put("a", queued(9))
    roster.put("b", queued(5))
    woken.clear()
    roster.block("a", True)
    assert woken == ["b"]
    assert roster.blocked() == {"a"}
    assert roster.admit("b")


def test_a_job_that_waits_no_more_has_its_old_place_in_the_queue(roster: Roster) -> None:
    roster.put("busy", running())
    roster.put("a", queued(9))
    roster.put("b", queued(5))
    roster.block("a", True)
    roster.block("a", False)
    assert not roster.admit("b")
    assert roster.admit("a")


def test_a_blocked_job_stays_blocked_when_its_status_is_told_again(roster: Roster) -> None:
    roster.put("a", queued(9))
    roster.block("a", True)
    roster.put("a", queued(9))
    assert roster.blocked() == {"a"}


def test_a_job_that_goes_back_to_the_queue_frees_its_place(roster: Roster) -> None:
    roster.put("a", queued(9))
    roster.admit("a")
    roster.put("a", queued(9))
    assert roster.running() == set()


def test_a_forgotten_job_leaves_nothing(roster: Roster) -> None:
    roster.put("a", running())
    roster.put("b", queued(2))
    for name in ("a", "b"):
        roster.put(name, None)
    assert (roster.active(), roster.items(), roster.get("a"), roster.known("a.yaml")) == (set(), [], None, None)


def test_active_is_all_that_has_not_ended(roster: Roster) -> None:
    roster.put("a", running())
    roster.put("b", queued(1))
    roster.put("c", ended())
    assert roster.active() == {"a", "b"}


def test_a_file_is_known_by_its_hash_when_all_its_documents_were_read_under_it(roster: Roster) -> None:
    roster.put("a", in_file(ended(), "two.yaml", "h1", 2, "d1"))
    roster.put("b", in_file(ended(), "two.yaml", "h1", 2, "d2"))
    known = roster.known("two.yaml")
    assert known is not None
    assert (known.source_hash, set(known.docs)) == ("h1", {Doc(name="a", digest="d1"), Doc(name="b", digest="d2")})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(("h1", 2), None, id="a document is missing"),
        pytest.param(("h1", 2), ("h2", 2), id="read under different hashes"),
        pytest.param(("h1", 1), ("h1", 2), id="a document was added"),
    ],
)
def test_a_file_that_is_not_known_as_a_whole_has_no_hash(
    roster: Roster, first: tuple[str, int], second: tuple[str, int] | None
) -> None:
    roster.put("a", in_file(ended(), "two.yaml", *first))
    if second:
        roster.put("b", in_file(ended(), "two.yaml", *second))
    known = roster.known("two.yaml")
    assert isinstance(known, Known) and known.source_hash == ""


def test_a_moved_job_is_known_under_its_new_file_only(roster: Roster) -> None:
    roster.put("a", in_file(ended(), "old.yaml", "h1"))
    roster.put("a", in_file(ended(), "new.yaml", "h1"))
    assert roster.known("old.yaml") is None
    assert roster.known("new.yaml") is not None


@pytest.mark.parametrize(
    ("told", "has_spec", "is_calm"),
    [
        pytest.param(ended(), True, True, id="ended, its file there"),
        pytest.param(ended(), False, False, id="ended, its file gone"),
        pytest.param(running(), True, False, id="running"),
        pytest.param(ended(reason=Reason.SPEC_DELETED), True, False, id="ended because its file was gone"),
    ],
)
def test_only_what_has_ended_beside_its_file_is_calm(
    roster: Roster, told: JobStatus, has_spec: bool, is_calm: bool
) -> None:
    found = condition("SpecPresent", has_spec, "x", "", ago(1))
    roster.put("a", changed(told, status=changed(told.status, conditions=with_conditions((), found))))
    entry = roster.get("a")
    assert entry is not None and entry.is_calm is is_calm


def test_a_full_pass_looks_at_all_that_run_and_in_turn_at_those_that_wait(roster: Roster) -> None:
    roster.put("runs", running())
    for number in range(5):
        roster.put(f"w{number}", queued(number))
    passes = [roster.due(2) for _ in range(3)]
    assert all("runs" in names and len(names) == 3 for names in passes)
    assert set().union(*passes) == {"runs", *(f"w{number}" for number in range(5))}
