"""Percent and estimate of one attempt: never falling, never 100 before the end, no guess without ground."""

from datetime import datetime, timedelta

import pytest

from opeva_operator.pace import Pace, ended, interrupted, read, shown
from opeva_operator.testing import FakeClock
from opeva_specs.terms import Progress

START = FakeClock()()


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def reached(*readings: tuple[float, float], pace: Pace | None = None) -> Pace:
    pace = pace or Pace()
    for seconds, percent in readings:
        pace = read(pace, percent, at(seconds))
    return pace


def eta(pace: Pace) -> float | None:
    return pace.told.eta_seconds if pace.told else None


def test_the_percentage_never_falls_and_is_not_100_before_the_end() -> None:
    pace = reached((0, 40), (10, 20))
    assert pace.told is not None and pace.told.percent == 40
    pace = reached((20, 100), pace=pace)
    assert pace.told is not None and pace.told.percent == 99.9


def test_the_estimate_is_that_of_the_newest_stretch() -> None:
    pace = reached((600, 10), (610, 11))  # ten minutes to start, then one percent in ten seconds
    assert eta(pace) == 890
    assert pace.told is not None and pace.told.estimated_finish_at == at(1500)
    slower = reached(*((610 + 100 * n, 11 + n) for n in range(1, 60)), pace=pace)
    assert eta(slower) == 3000
    assert eta(reached((6520, 80), (6530, 90), pace=slower)) == 10


@pytest.mark.parametrize(
    "readings",
    [
        pytest.param([], id="nothing read"),
        pytest.param([(100, 50)], id="one reading"),
        pytest.param([(0, 0), (600, 0), (700, 1)], id="the time at 0 % is not counted, so one reading"),
        pytest.param([(100, 50), (200, 50.9)], id="less than one percent gained"),
        pytest.param([(100, 50), (100, 60)], id="no time passed"),
        pytest.param([(100, 50), (50, 60)], id="the clock was set back"),
        pytest.param([(0, 98), (10, 99.6)], id="exporting"),
        pytest.param([(0, 1), (86400 * 30, 2.1)], id="more than a year to go"),
    ],
)
def test_where_there_is_no_ground_there_is_no_guess(readings: list[tuple[float, float]]) -> None:
    pace = reached(*readings)
    assert eta(pace) is None
    assert pace.told is None or pace.told.estimated_finish_at is None


def test_nothing_is_guessed_while_the_job_says_that_it_starts() -> None:
    pace = read(reached((0, 10), (10, 12)), 14, at(20), is_starting=True)
    assert eta(pace) is None
    assert eta(reached((520, 15), (530, 16), pace=interrupted(pace))) == 840
    started = reached((100, 12), pace=read(Pace(), 10, START, is_starting=True))
    assert eta(started) is None, "what it took to start is no measure"


def test_when_the_clock_is_set_back_the_pace_is_learned_anew() -> None:
    assert eta(reached((100, 50), (50, 60), (60, 62))) == 190


def test_an_estimate_stands_until_the_percentage_rises() -> None:
    pace = reached((0, 10), (100, 20))
    assert pace.told is not None
    again = reached((150, 20), pace=pace).told
    assert again is not None
    assert (again.estimated_finish_at, again.eta_seconds) == (pace.told.estimated_finish_at, 750)


def test_after_a_restart_what_was_told_stands_until_there_is_a_pace_again() -> None:
    before = reached((0, 10), (100, 20)).told
    after = reached((200, 20.5), pace=Pace(before)).told
    assert before is not None and after is not None
    assert after.estimated_finish_at == before.estimated_finish_at
    assert eta(reached((300, 40), pace=reached((200, 20.5), pace=Pace(before)))) == pytest.approx(60 / 19.5 * 100, 1e-3)


def test_an_estimate_does_not_stand_when_its_moment_has_passed() -> None:
    pace = reached((0, 10), (100, 20))
    assert eta(reached((899, 20), pace=pace)) == 1
    assert eta(reached((900, 20), pace=pace)) is None
    assert eta(reached((901, 20), pace=pace)) is None


def test_after_an_interruption_the_pace_is_learned_anew() -> None:
    pace = interrupted(reached((0, 10), (100, 20)))
    assert eta(pace) is None and pace.told is not None and pace.told.percent == 20
    assert eta(reached((9000, 21), pace=pace)) is None
    assert eta(reached((9000, 21), (9010, 22), pace=pace)) == 780


def test_an_estimate_whose_moment_has_passed_is_none() -> None:
    pace = reached((0, 10), (10, 60))  # eight seconds to go
    assert shown(pace, at(17), is_stalled=False) == pace.told
    late = shown(pace, at(18), is_stalled=False)
    assert late is not None and (late.percent, late.eta_seconds, late.estimated_finish_at) == (60, None, None)


def test_of_a_run_that_stands_still_no_end_is_foretold() -> None:
    stalled = shown(reached((0, 10), (10, 11)), at(11), is_stalled=True)
    assert stalled is not None and stalled.estimated_finish_at is None


@pytest.mark.parametrize(
    ("told", "percent", "is_finished", "final"),
    [
        pytest.param(60.0, 75.0, True, 100.0, id="finished"),
        pytest.param(None, None, True, 100.0, id="finished, never told anything"),
        pytest.param(60.0, 75.0, False, 75.0, id="failed: the last that was read"),
        pytest.param(60.0, 10.0, False, 60.0, id="failed: not less than was told"),
        pytest.param(60.0, None, False, 60.0, id="failed, its file is torn"),
        pytest.param(60.0, 100.0, False, 99.9, id="failed at the very end"),
        pytest.param(None, None, False, None, id="failed, never told anything"),
    ],
)
def test_what_stays_at_the_end(
    told: float | None, percent: float | None, is_finished: bool, final: float | None
) -> None:
    before = None if told is None else Progress(percent=told, updated_at=at(1), eta_seconds=5)
    found = ended(before, percent, at(2) if percent else None, is_finished=is_finished)
    assert (found and found.percent) == final
    assert found is None or found.eta_seconds is None
