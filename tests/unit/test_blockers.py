"""What is said to those who wait for room or for their turn."""

import pytest
from tests.unit.lines import CORE, GI, claim, line_of, started, told

from opeva_specs.admission import Capacity, Claim


@pytest.mark.parametrize(
    ("kind", "mine", "running", "message", "unblocks"),
    [
        pytest.param(
            "CpuShort", claim("j", cpu=4), (claim("r", cpu=5.5),),
            "needs 4 CPUs, but running jobs leave 2.5 of the 8 on 'local'", "this job ends: r", id="cpus",
        ),
        pytest.param(
            "CpuShort", claim("j", cpu=1), (claim("r", cpu=8),),
            "needs 1 CPU, but running jobs leave 0 of the 8 on 'local'", "this job ends: r", id="one cpu",
        ),
        pytest.param(
            "MemoryShort", claim("j", memory=4.0001), (claim("r", memory=12),),
            "needs 4.01Gi of memory, but running jobs leave 4Gi of the 16Gi on 'local'", "this job ends: r",
            id="a little too little never reads as enough",
        ),
        pytest.param(
            "MemoryShort", claim("j", memory=0.5), (claim("r", memory=15.75), claim("cpu only")),
            "needs 512Mi of memory, but running jobs leave 256Mi of the 16Gi on 'local'", "this job ends: r",
            id="named are those who hold it",
        ),
        pytest.param(
            "GpuShort", claim("j", gpu=2), (claim("r", gpu=1),),
            "needs 2 GPUs, but running jobs leave 1 of the 2 on 'local'", "this job ends: r", id="GPUs",
        ),
        pytest.param(
            "TooLarge", claim("j", gpu=3), (),
            "needs 3 GPUs, and 'local' has only 2 for all jobs together",
            "its spec asks for less or names another host, or whoever runs the server gives this one more",
            id="too large",
        ),
        pytest.param(
            "AtCapacity", claim("j"), tuple(claim(f"r{n}", n, cpu=0) for n in range(9)),
            "9 jobs run on 'local', which takes 9 at once", "enough of these jobs end: r0, r1, r2 and 6 others",
            id="no place",
        ),
    ],
)  # fmt: skip
def test_of_room_it_says_what_is_needed_what_is_left_and_who_holds_it(
    kind: str, mine: Claim, running: tuple[Claim, ...], message: str, unblocks: str
) -> None:
    blocker = told(line_of(mine, running=running), "j")[kind]
    assert (blocker.message, blocker.unblocks) == (message, unblocks)


def test_a_host_without_any_gpu_says_so() -> None:
    line = line_of(claim("j", gpu=1), capacity=Capacity(jobs=1))
    assert told(line, "j")["TooLarge"].message == "needs 1 GPU, and 'local' has none"


def test_a_host_that_takes_no_jobs_is_not_called_too_small() -> None:
    blocker = told(line_of(claim("j"), capacity=Capacity(jobs=0)), "j")["AtCapacity"]
    assert blocker.message == "'local' takes no jobs at present"
    assert blocker.unblocks == "whoever runs the server lets the host take jobs again"


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("anna", "2 jobs of 'anna' run already, and one user may run 2 at once"),
        ("", "2 jobs without submittedBy (which count as one user's) run already, and one user may run 2 at once"),
    ],
)
def test_of_the_cap_it_says_whose_jobs_run(user: str, message: str) -> None:
    running = (claim("r1", user=user), claim("r2", host="big", user=user))
    line = line_of(claim("j", user=user), running=running, per_user=2)
    blocker = told(line, "j")["UserCap"]
    assert (blocker.message, blocker.unblocks) == (message, "enough of these jobs end: r1, r2")


@pytest.mark.parametrize(
    ("others", "message"),
    [
        pytest.param((claim("a", 1),), "1 job goes first: a; it has waited longer", id="time"),
        pytest.param(
            (claim("a", 9, priority=5),),
            "1 job goes first: a; it has a higher priority (5 over 0)",
            id="priority",
        ),
        pytest.param(
            (claim("a", 9, user="bea"),),
            "1 job goes first: a; its user has fewer jobs running (0 against 1)",
            id="user",
        ),
        pytest.param(
            tuple(claim(f"a{n}", n) for n in range(5)),
            "5 jobs go first: a0, a1, a2 and 2 others; the first of them has waited longer",
            id="several",
        ),
    ],
)
def test_of_those_ahead_it_says_how_many_who_and_why(others: tuple[Claim, ...], message: str) -> None:
    line = line_of(claim("j", 8), *others, running=(claim("r"),))
    blocker = told(line, "j")["Ahead"]
    assert blocker.message == message
    assert blocker.details["count"] == len(others)


def test_of_another_users_hundred_jobs_only_the_next_is_ahead() -> None:
    line = line_of(*(claim(f"a{n}", n) for n in range(100)), claim("b", 200, user="bea"))
    assert line.position("b") == 2
    assert told(line, "b")["Ahead"].details["names"] == ["a0"]


def test_jobs_that_may_be_passed_are_not_called_ahead() -> None:
    line = line_of(claim("big", 0, cpu=8), claim("j", 1, cpu=3), running=(claim("r", cpu=6),))
    assert set(told(line, "j")) == {"CpuShort"}
    assert line.position("j") == 2


def test_a_job_that_may_pass_no_more_is_told_for_whom_room_is_kept() -> None:
    line = line_of(
        claim("big", 0, cpu=8), claim("s1", 1), claim("s2", 2), claim("s3", 3), running=(claim("old", cpu=1),)
    )
    started(line)
    blockers = told(line, "s3")
    assert set(blockers) == {"Reserved"}
    words = "what comes free is kept for 'big', the first in the queue: smaller jobs passed it 2 times, and no more may"
    assert blockers["Reserved"].message == words
    assert set(told(line, "big")) == {"CpuShort"}


def test_for_a_capped_job_that_would_be_the_head_itself_nothing_is_kept_back() -> None:
    line = line_of(
        claim("big", 0, cpu=8, user="bea"),
        claim("s1", 1, user="carl"),
        claim("s2", 2, user="dora"),
        claim("next", 3, user="emil"),
        claim("urgent", 4, priority=1),
        running=(claim("r1"), claim("r2")),
        per_user=2,
    )
    assert started(line) == ["s1", "s2"]
    assert set(told(line, "next")) == {"Reserved"}
    assert set(told(line, "urgent")) == {"UserCap"}


def test_everything_that_hinders_is_told_at_once() -> None:
    running = (claim("r1", cpu=7, memory=15), claim("r2", gpu=2))
    mine = claim("j", 5, cpu=2, memory=2, gpu=1)
    line = line_of(mine, claim("a", 1), running=running, capacity=Capacity(2, 8 * CORE, 16 * GI, 2), per_user=2)
    assert set(told(line, "j")) == {"AtCapacity", "CpuShort", "MemoryShort", "GpuShort", "UserCap", "Ahead"}


def test_a_job_too_large_in_two_ways_is_told_both_and_what_else_lacks() -> None:
    line = line_of(claim("j", cpu=9, memory=17, gpu=1), running=(claim("r", gpu=2),))
    found = line.hindrances("j")
    assert [(b.kind, b.details.get("what")) for b in found] == [
        ("TooLarge", "CpuShort"), ("TooLarge", "MemoryShort"), ("GpuShort", None),
    ]  # fmt: skip
    assert line.position("j") is None
