"""Percentiles, spreads and ratios."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.statistics import Spread, percentile, ratios

FLOATS = st.floats(0.001, 1e6)


@given(st.lists(FLOATS, min_size=1), st.floats(0, 100))
def test_a_percentile_is_one_of_the_values_and_enough_are_below(values: list[float], rank: float) -> None:
    ordered = sorted(values)
    found = percentile(ordered, rank)
    assert found in ordered
    assert sum(value <= found for value in ordered) >= rank * len(ordered) / 100 - 1e-6


@pytest.mark.parametrize(("rank", "value"), [(0, 1), (50, 2), (75, 3), (99, 4), (100, 4)])
def test_nearest_rank(rank: float, value: float) -> None:
    assert percentile([1, 2, 3, 4], rank) == value


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([10, 40], [5, 10]) == Spread(3.0, 2.0, 4.0)
