"""Estimates of tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.events.record import Tokens
from sidecar.limits.reservation import MAX_ESTIMATE, counted, estimate


@pytest.mark.parametrize(
    ("body", "most", "tokens"), [(0, 0, 1), (1, 0, 1), (5, 0, 2), (400, 50, 150), (0, None, 256), (0, -5, 1), (1 << 40, None, 1_000_000)]
)
def test_estimate(body: int, most: int | None, tokens: int) -> None:
    assert estimate(body, most) == tokens


@given(st.integers(0, 1 << 40), st.none() | st.integers(-(1 << 70), 1 << 70))
def test_an_estimate_is_bounded(body: int, most: int | None) -> None:
    assert 1 <= estimate(body, most) <= MAX_ESTIMATE


@pytest.mark.parametrize(
    ("tokens", "most"),
    [
        (Tokens(input=100, output=20, cached_input=80, cache_creation_input=5), 120),
        (Tokens(input=12, output=5, cached_input=50_000, cache_creation_input=100_000), 150_005),
    ],
    ids=["part of it", "beside it"],
)
def test_cached_input_counts_once(tokens: Tokens, most: int) -> None:
    assert counted(tokens) == most
