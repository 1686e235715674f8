"""The operator's clock does not jump, whatever becomes of the host's."""

from datetime import UTC, datetime, timedelta

import pytest

from opeva_operator.clock import SteadyClock, wall_now

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1), timedelta(days=9000)])
def test_a_jump_of_the_hosts_clock_is_not_followed(jump: timedelta) -> None:
    wall, elapsed = [NOON], [100.0]
    clock = SteadyClock(lambda: wall[0], lambda: elapsed[0])
    assert clock() == NOON
    wall[0] += jump
    elapsed[0] += 7.5
    assert clock() == NOON + timedelta(seconds=7.5)


def test_it_starts_at_the_hosts_time() -> None:
    assert abs(SteadyClock()() - wall_now()) < timedelta(seconds=1)
