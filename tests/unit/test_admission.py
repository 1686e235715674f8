"""Who may start now, and in which order."""

import pytest
from tests.unit.lines import CORE, GI, ROOMY, claim, line_of, started, told

from opeva_specs.admission import Capacity, Claim
from opeva_specs.room import Room


@pytest.mark.parametrize(
    ("waiting", "order"),
    [
        pytest.param((claim("b", 2), claim("a", 1)), ["a", "b"], id="the longest wait first"),
        pytest.param((claim("b"), claim("a")), ["a", "b"], id="of one instant: by name"),
        pytest.param((claim("a", 1), claim("b", 2, priority=1)), ["b", "a"], id="priority before time"),
        pytest.param((claim("a", 1, priority=-1), claim("b", 2)), ["b", "a"], id="a priority below the usual"),
        pytest.param(
            (claim("a1", 1), claim("a2", 2), claim("b1", 3, user="bea"), claim("b2", 4, user="bea")),
            ["a1", "b1", "a2", "b2"],
            id="users take turns, however many one submitted first",
        ),
        pytest.param(
            (claim("a1", 1), claim("n1", 2, user=""), claim("n2", 3, user=""), claim("a2", 4)),
            ["a1", "n1", "n2", "a2"],
            id="those without submittedBy are one user",
        ),
        pytest.param(
            (claim("a1", 1, priority=1), claim("a2", 2, priority=1), claim("a3", 3), claim("b1", 4, user="bea")),
            ["a1", "a2", "b1", "a3"],
            id="what started by its priority counts for its user",
        ),
    ],
)
def test_the_line_starts_jobs_in_the_order_it_told(waiting: tuple[Claim, ...], order: list[str]) -> None:
    line = line_of(*waiting)
    assert line.first("local", 9) == order
    assert [line.position(name) for name in order] == list(range(1, len(order) + 1))
    assert started(line) == order


@pytest.mark.parametrize(
    ("capacity", "count"),
    [
        pytest.param(Capacity(jobs=3), 3, id="jobs"),
        pytest.param(Capacity(jobs=9, cpu=4 * CORE), 2, id="cpus"),
        pytest.param(Capacity(jobs=9, memory=5 * GI), 1, id="memory"),
        pytest.param(Capacity(jobs=9, gpu=0), 5, id="no GPUs, none asked for"),
        pytest.param(Capacity(jobs=0), 0, id="a host that takes none"),
        pytest.param(Capacity(jobs=9, cpu=4 * CORE - 1), 1, id="a billionth of a core too little"),
    ],
)
def test_no_more_start_than_there_is_room_for(capacity: Capacity, count: int) -> None:
    line = line_of(*(claim(f"j{n}", n, cpu=2, memory=3) for n in range(5)), capacity=capacity)
    assert len(started(line)) == count


def test_tenths_of_cores_fill_a_core_exactly() -> None:
    line = line_of(*(claim(f"j{n}", n, cpu=0.1) for n in range(11)), capacity=Capacity(jobs=99, cpu=CORE))
    assert len(started(line)) == 10


def test_jobs_pass_a_head_that_does_not_fit_until_room_is_kept_for_it() -> None:
    small = [claim(f"s{n}", n, cpu=1) for n in range(1, 5)]
    line = line_of(claim("big", 0, cpu=8), *small, running=(claim("old", cpu=1),))
    assert started(line) == ["s1", "s2"]
    line.leave("s1")
    assert line.turn("local") is None  # s3 would fit, and big was passed twice
    for name in ("s2", "old"):
        line.leave(name)
    assert started(line) == ["big"]


def test_a_head_that_stood_aside_for_a_moment_is_still_owed_its_room() -> None:
    big, running = claim("big", 0, cpu=8), (claim("old", cpu=1),)
    line = line_of(big, claim("s1", 1), claim("s2", 2), claim("s3", 3), running=running)
    assert started(line) == ["s1", "s2"]
    line.leave("big", forget=False)
    line.wait(big)
    assert line.turn("local") is None
    line.leave("big")
    line.wait(big)
    assert line.turn("local") == "s3"


def test_jobs_too_large_for_their_host_and_those_of_a_user_at_the_cap_keep_nobody_back() -> None:
    line = line_of(
        claim("huge", 0, cpu=99, priority=9),
        claim("third", 1, priority=9),
        claim("b1", 2, user="bea"),
        running=(claim("r1"), claim("r2")),
        per_user=2,
    )
    assert line.first("local", 9) == ["b1"]
    assert started(line) == ["b1"]
    line.leave("r1")
    assert started(line) == ["third"]


def test_on_a_host_that_was_cut_down_nothing_starts_that_needs_what_it_lacks() -> None:
    line = line_of(claim("cpu", 1), claim("free", 2, cpu=0), running=(claim("r", cpu=8),))
    line.set_capacity("local", Capacity(jobs=9, cpu=2 * CORE))
    assert started(line) == ["free"]
    assert told(line, "cpu")["CpuShort"].details == {
        "host": "local", "needed": CORE, "free": 0, "total": 2 * CORE, "short": 7 * CORE,
    }  # fmt: skip


def test_hosts_have_lines_of_their_own_but_a_user_is_one_on_all() -> None:
    line = line_of(claim("a1", 1), claim("b1", 2, user="bea"), running=(claim("far", host="big"),))
    assert started(line) == ["b1", "a1"]


def test_at_a_host_of_which_nothing_is_known_nobody_starts() -> None:
    line = line_of(claim("a", 1), claim("b", 2))
    line.set_capacity("local", None)
    assert line.turn("local") is None
    assert not line.admit("a")
    assert line.position("b") == 2
    assert set(told(line, "b")) == {"Ahead"}
    line.set_capacity("local", ROOMY)
    assert started(line) == ["a", "b"]


def test_a_job_that_was_let_in_and_waits_again_gives_its_place_back() -> None:
    line = line_of(claim("a"), claim("b", 1), capacity=Capacity(jobs=1))
    assert started(line) == ["a"]
    line.wait(claim("a"))
    assert line.occupied("local") == []
    assert line.turn("local") == "a"


def test_a_new_priority_moves_a_job_at_once() -> None:
    line = line_of(claim("a", 1), claim("b", 2))
    line.wait(claim("b", 2, priority=1))
    assert (line.turn("local"), line.position("a")) == ("b", 2)


def test_who_leaves_is_nowhere_and_leaving_twice_is_fine() -> None:
    line = line_of(claim("a"), running=(claim("r"),))
    for name in ("a", "a", "r", "r", "nobody"):
        line.leave(name)
    assert (line.hosts(), line.occupied("local"), line.is_waiting("a")) == (set(), [], False)
    assert (line.position("a"), line.hindrances("a"), line.turn("nowhere")) == (None, [], None)


def test_a_room_that_all_have_left_is_as_new() -> None:
    room, claims = Room(ROOMY), [claim("a"), claim("b", 1), claim("c", user="bea"), claim("d", priority=2)]
    for one in claims:
        room.add(one)
    for one in claims:
        room.remove(one)
    assert room == Room(ROOMY)
