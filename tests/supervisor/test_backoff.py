from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.supervisor.backoff import FIRST, GOOD_LIFE, LONGEST, Backoff


def test_it_doubles_up_to_the_longest() -> None:
    backoff = Backoff()
    assert [backoff.after(0) for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_good_life_is_forgiven() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.after(GOOD_LIFE - 0.001)
    assert backoff.after(GOOD_LIFE) == FIRST
    assert backoff.after(0) == 2 * FIRST


@given(st.lists(st.floats(0, 100)))
def test_it_stays_within_its_bounds(lifetimes: list[float]) -> None:
    backoff = Backoff()
    assert all(FIRST <= backoff.after(lifetime) <= LONGEST for lifetime in lifetimes)
