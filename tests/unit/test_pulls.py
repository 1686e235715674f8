"""Images are fetched once for all who wait, tried again only where that helps, and nobody waits for ever."""

import time
from collections.abc import Callable

import pytest

from opeva_operator.engine import EngineUnreachable, PullFailed
from opeva_operator.pulls import Landed, Missed, Pulls
from opeva_operator.testing import FakeClock, FakeEngine

IMAGE = "registry.example/sim:1"


class Airport:
    """Pulls whose flights begin when the test lets them, and whose pauses cost no time."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.engine = FakeEngine("v", self.clock)
        self.engine.host.registry[IMAGE] = "sha256:1"
        self.waiting: list[Callable[[], None]] = []
        self.woken: list[str] = []
        self.pauses: list[float] = []
        self.pulls = Pulls(
            self.engine, self.woken.append, self.clock, 60.0, self.pauses.append,
            begin=lambda fly, name: self.waiting.append(fly),
        )  # fmt: skip

    def fly(self) -> Landed | Missed | None:
        self.waiting.pop()()
        result = self.pulls.result(IMAGE)
        assert result is None or isinstance(result, Landed | Missed)
        return result

    @property
    def tries(self) -> int:
        return self.engine.calls.count(("pull", IMAGE))


@pytest.fixture
def airport() -> Airport:
    return Airport()


def test_one_flight_serves_all_who_want_the_image(airport: Airport) -> None:
    flights = {id(airport.pulls.want(IMAGE, name)) for name in ("a", "b", "a")}
    assert (len(flights), len(airport.waiting)) == (1, 1)
    assert airport.fly() == Landed(airport.clock())
    assert (sorted(airport.woken), airport.tries) == (["a", "b"], 1)


def test_while_it_flies_everybody_sees_the_flight(airport: Airport) -> None:
    flight = airport.pulls.want(IMAGE, "a")
    assert airport.pulls.result(IMAGE) is flight
    assert airport.pulls.result("other") is None


@pytest.mark.parametrize("kind", ["not found", "unauthorised"])
def test_what_trying_again_cannot_mend_is_not_tried_again(airport: Airport, kind: str) -> None:
    airport.engine.fail("pull", PullFailed(kind, "the registry says no"))  # type: ignore[arg-type]
    airport.pulls.want(IMAGE, "a")
    result = airport.fly()
    assert isinstance(result, Missed)
    assert (airport.tries, airport.pauses, airport.woken) == (1, [], ["a"])
    assert f"{kind}: the registry says no" in result.message and IMAGE in result.message


@pytest.mark.parametrize("error", [PullFailed("unreachable", "no route"), EngineUnreachable("no answer")])
def test_what_cannot_be_reached_is_tried_again_after_growing_pauses(airport: Airport, error: Exception) -> None:
    airport.engine.fail("pull", error, times=4)
    airport.pulls.want(IMAGE, "a")
    assert isinstance(airport.fly(), Landed)
    assert (airport.tries, airport.pauses) == (5, [2.0, 4.0, 8.0, 16.0])


def test_what_cannot_be_reached_five_times_is_missed(airport: Airport) -> None:
    airport.engine.fail("pull", PullFailed("unreachable", "no route"), times=99)
    airport.pulls.want(IMAGE, "a")
    result = airport.fly()
    assert isinstance(result, Missed) and "unreachable: no route" in result.message
    assert airport.tries == 5


def test_an_engine_that_does_not_answer_says_nothing_of_the_image(airport: Airport) -> None:
    airport.engine.fail("pull", EngineUnreachable("restarting"), times=5)
    airport.pulls.want(IMAGE, "a")
    assert (airport.fly(), airport.tries, airport.woken) == (None, 5, ["a"])
    airport.pulls.want(IMAGE, "a")
    assert isinstance(airport.fly(), Landed)


def test_no_try_begins_after_the_deadline(airport: Airport) -> None:
    pulls = Pulls(
        airport.engine, airport.woken.append, airport.clock, 3.0, airport.pauses.append,
        begin=lambda fly, name: airport.waiting.append(fly),
    )  # fmt: skip
    airport.engine.fail("pull", PullFailed("unreachable", "no route"), times=99)
    pulls.want(IMAGE, "a")
    airport.waiting.pop()()
    assert airport.pauses == [2.0]


def test_the_last_try_can_be_told_while_the_next_is_waited_for(airport: Airport) -> None:
    airport.engine.fail("pull", PullFailed("unreachable", "no route"), times=1)
    flight = airport.pulls.want(IMAGE, "a")
    airport.fly()
    assert flight.last_try == "unreachable: no route"


def test_an_error_that_nobody_foresaw_ends_the_flight_as_well(airport: Airport) -> None:
    airport.engine.fail("pull", ZeroDivisionError("odd"))
    airport.pulls.want(IMAGE, "a")
    result = airport.fly()
    assert isinstance(result, Missed) and "odd" in result.message
    assert airport.woken == ["a"]


def test_after_a_miss_it_can_be_wanted_again(airport: Airport) -> None:
    airport.engine.fail("pull", PullFailed("not found", "no such manifest"))
    airport.pulls.want(IMAGE, "a")
    airport.fly()
    airport.clock.advance(10)
    airport.pulls.want(IMAGE, "b")
    assert airport.fly() == Landed(airport.clock())
    assert airport.woken == ["a", "b"]


def test_by_itself_a_flight_has_a_thread_and_three_are_in_the_air_at_once() -> None:
    engine = FakeEngine("v")
    gate = engine.hold("pull")
    woken: list[str] = []
    pulls = Pulls(engine, woken.append, FakeClock(), 60.0)
    for number in range(5):
        engine.host.registry[f"sim:{number}"] = "sha256:1"
        pulls.want(f"sim:{number}", f"job-{number}")
    _eventually(lambda: len(engine.calls) >= 3)
    assert len(engine.calls) == 3
    gate.set()
    _eventually(lambda: len(woken) == 5)


def _eventually(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)
