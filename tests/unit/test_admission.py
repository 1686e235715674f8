"""Who may start now."""

from datetime import UTC, datetime, timedelta

import pytest

from opeva_specs.admission import Place, admitted, in_order, join, leave, position


def place(minute: int, name: str) -> Place:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute), name


QUEUE = [place(1, "b"), place(1, "c"), place(2, "a")]


@pytest.mark.parametrize(
    ("occupied", "limit", "names"),
    [
        pytest.param(0, 2, ["b", "c"], id="two places"),
        pytest.param(1, 2, ["b"], id="one left"),
        pytest.param(2, 2, [], id="full"),
        pytest.param(5, 2, [], id="fuller than allowed: nobody"),
        pytest.param(0, 9, ["b", "c", "a"], id="room for all"),
    ],
)
def test_the_first_in_are_admitted_up_to_the_limit(occupied: int, limit: int, names: list[str]) -> None:
    assert admitted(QUEUE, occupied, limit) == names


def test_the_order_is_by_time_then_by_name() -> None:
    assert in_order(reversed(QUEUE)) == QUEUE


def test_a_job_joins_where_it_belongs_and_only_once() -> None:
    queue: list[Place] = []
    for one in (QUEUE[2], QUEUE[0], QUEUE[1], QUEUE[0]):
        join(queue, one)
    assert queue == QUEUE


def test_a_job_leaves_and_leaving_twice_is_fine() -> None:
    queue = list(QUEUE)
    leave(queue, QUEUE[1])
    leave(queue, QUEUE[1])
    assert queue == [QUEUE[0], QUEUE[2]]


@pytest.mark.parametrize(("one", "number"), [(QUEUE[0], 1), (QUEUE[2], 3), (place(1, "bb"), 2), (place(9, "z"), 4)])
def test_the_number_in_the_queue_counts_from_one(one: Place, number: int) -> None:
    assert position(QUEUE, one) == number
