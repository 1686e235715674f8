"""What jobs write of their progress, in all the ways they count, and never a figure that makes no sense."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opeva_specs.progress import finite, percent_of

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


KEYS = "step total percent progress_pct progress step_current step_total episode_current episode_total".split()
VALUES = ANYTHING | st.floats(min_value=1e150)  # whose products are infinite


@given(st.dictionaries(st.sampled_from(KEYS), VALUES))
def test_a_percentage_lies_between_0_and_100_whatever_is_written(progress: dict[str, Any]) -> None:
    assert 0 <= percent_of(progress) <= 100


def test_counts_beyond_all_measure_are_no_percentage() -> None:
    names = ("episode_current", "episode_total", "step_current", "step_total")
    assert percent_of(dict.fromkeys(names, 1e300)) == 0


@pytest.mark.parametrize(
    ("value", "number"), [(True, None), ("1", None), (float("nan"), None), (10**400, None), (2, 2.0)]
)
def test_only_finite_numbers_are_numbers(value: Any, number: float | None) -> None:
    assert finite(value) == number
