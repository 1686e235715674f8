"""Names in, names out: each once, each in one hand, failed ones after a growing pause."""

import threading

import pytest

from opeva_operator.workqueue import LONGEST_BACKOFF, WorkQueue, backoff


class Ticks:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def queue(ticks: Ticks) -> WorkQueue:
    return WorkQueue(ticks, jitter=lambda: 0.5)


def drained(queue: WorkQueue) -> list[str]:
    """All that is due now, each given back."""
    found = []
    while (name := queue.get(timeout=0)) is not None:
        found.append(name)
        queue.done(name)
    return found


def test_a_name_added_twice_is_handed_out_once(queue: WorkQueue) -> None:
    queue.add("a")
    queue.add("a")
    assert drained(queue) == ["a"]


def test_names_come_out_in_the_order_they_came_in(queue: WorkQueue) -> None:
    for name in ("c", "a", "b"):
        queue.add(name)
    assert drained(queue) == ["c", "a", "b"]


def test_a_name_in_somebodys_hands_is_not_handed_out_again_until_it_is_given_back(queue: WorkQueue) -> None:
    queue.add("a")
    assert queue.get(timeout=0) == "a"
    queue.add("a")
    assert queue.get(timeout=0) is None
    queue.done("a")
    assert queue.get(timeout=0) == "a"


def test_a_held_name_stands_in_nobodys_way(queue: WorkQueue) -> None:
    queue.add("a")
    assert queue.get(timeout=0) == "a"
    queue.add("a")
    queue.add("b")
    assert queue.get(timeout=0) == "b"
    queue.done("a")
    assert queue.get(timeout=0) == "a"


def test_of_several_waits_the_earliest_counts(queue: WorkQueue, ticks: Ticks) -> None:
    queue.add("a", after=10)
    queue.add("a", after=3)
    queue.add("a", after=20)
    ticks.now += 2.9
    assert drained(queue) == []
    ticks.now += 0.2
    assert drained(queue) == ["a"]
    ticks.now += 100
    assert drained(queue) == []


def test_a_failed_name_comes_back_after_a_pause_that_doubles_and_a_success_forgives(
    queue: WorkQueue, ticks: Ticks
) -> None:
    pauses = []
    queue.add("a")
    for _ in range(4):
        assert queue.get(timeout=0) == "a"
        pauses.append(queue.done("a", failed=True))
        assert queue.get(timeout=0) is None
        ticks.now += pauses[-1]
    assert pauses == [0.2, 0.4, 0.8, 1.6]
    assert queue.get(timeout=0) == "a"
    assert queue.done("a") == 0
    queue.add("a")
    queue.get(timeout=0)
    assert queue.done("a", failed=True) == 0.2


def test_a_failed_name_is_looked_at_at_once_when_something_happens(queue: WorkQueue) -> None:
    queue.add("a")
    queue.get(timeout=0)
    queue.done("a", failed=True)
    queue.add("a")
    assert queue.get(timeout=0) == "a"


@pytest.mark.parametrize(
    ("failures", "jitter", "seconds"),
    [(1, 0.0, 0.15), (1, 1.0, 0.25), (2, 0.5, 0.4), (9, 0.5, 51.2), (10, 0.5, 60), (5000, 1.0, 75)],
)
def test_the_pause_grows_has_jitter_and_an_end(failures: int, jitter: float, seconds: float) -> None:
    assert backoff(failures, jitter) == pytest.approx(seconds)
    assert backoff(failures, jitter) <= LONGEST_BACKOFF * 1.25


def test_a_closed_queue_sends_every_worker_home() -> None:
    queue, got = WorkQueue(), []
    workers = [threading.Thread(target=lambda: got.append(queue.get())) for _ in range(3)]
    for worker in workers:
        worker.start()
    queue.close()
    for worker in workers:
        worker.join(5)
    assert got == [None, None, None]


def test_a_name_is_never_in_two_hands_at_once() -> None:
    queue, held, doubles, seen = WorkQueue(), set[str](), list[str](), list[str]()
    guard = threading.Lock()

    def work() -> None:
        while (name := queue.get()) is not None:
            with guard:
                doubles.extend([name] if name in held else [])
                held.add(name)
                seen.append(name)
            if len(seen) < 2000:
                queue.add(name)
            with guard:
                held.discard(name)
            queue.done(name)
            if len(seen) >= 2000:
                queue.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for name in ("a", "b"):
        queue.add(name)
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert len(seen) >= 2000
    assert doubles == []


def test_the_length_counts_what_waits_and_what_is_held(queue: WorkQueue) -> None:
    queue.add("a")
    queue.add("b", after=9)
    queue.get(timeout=0)
    assert len(queue) == 2


def test_names_of_a_lane_have_so_many_workers_and_others_are_not_kept_waiting(ticks: Ticks) -> None:
    queue = WorkQueue(ticks, lane_of=lambda name: name[0], workers={"a": 2})
    for name in ("a1", "a2", "a3", "b1", "b2", "b3"):
        queue.add(name)
    assert [queue.get(timeout=0) for _ in range(6)] == ["a1", "a2", "b1", "b2", "b3", None]
    queue.done("a1")
    assert queue.get(timeout=0) == "a3"
    queue.done("a2", failed=True)
    queue.done("a3")
    ticks.now += 1
    assert queue.get(timeout=0) == "a2"


def test_a_worker_is_free_for_its_lane_again_whatever_came_of_the_name(ticks: Ticks) -> None:
    lanes = {"a": "x"}
    queue = WorkQueue(ticks, lane_of=lambda name: lanes[name], workers={"x": 1, "y": 1})
    for _ in range(3):
        queue.add("a")
        assert queue.get(timeout=0) == "a"
        lanes["a"] = "y" if lanes["a"] == "x" else "x"  # it moved while it was being handled
        queue.done("a")
    lanes["b"] = "x"
    queue.add("b")
    queue.add("a")
    assert {queue.get(timeout=0), queue.get(timeout=0)} == {"a", "b"}


def test_a_thread_that_waits_for_a_worker_of_its_lane_is_woken() -> None:
    queue = WorkQueue(lane_of=lambda name: "x", workers={"x": 1})
    queue.add("a")
    queue.add("b")
    assert queue.get(timeout=0) == "a"
    got: list[str | None] = []
    waiting = threading.Thread(target=lambda: got.append(queue.get(timeout=10)))
    waiting.start()
    queue.done("a")
    waiting.join(10)
    assert got == ["b"]
