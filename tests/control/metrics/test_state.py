from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.metrics.state import Counts
from sidecar.control.totals.rows import STEP

LAST_DIGITS = 1e-11


def restored(seconds: float) -> float:
    """What counts begin with where the store holds `seconds`."""
    counts = Counts()
    counts.restore({b"k:key": msgspec.msgpack.encode({"d": [seconds, 3]})})
    begun, requests = counts.keys["key"]["d"]
    assert requests == 3
    return float(begun)


@given(st.integers(0, 1 << 53))
def test_seconds_in_whole_steps_are_taken_as_they_are(steps: int) -> None:
    assert repr(restored(steps * STEP)) == repr(steps * STEP)


@pytest.mark.parametrize(
    ("stored", "steps"),
    [(0.3 * STEP, 1), (17.0009 * STEP, 17), (17.01 * STEP, 18), (17.5 * STEP, 18), (17.99 * STEP, 18), (8 - LAST_DIGITS, 8 << 20), (8 + LAST_DIGITS, 8 << 20)],
)  # fmt: skip
def test_what_an_earlier_build_has_left_is_rounded_up_but_for_the_last_digits(stored: float, steps: int) -> None:
    assert restored(stored) == steps * STEP


@given(st.integers(0, 1 << 29), st.floats(-LAST_DIGITS, LAST_DIGITS), st.lists(st.integers(0, 1 << 36), max_size=5))
def test_each_restart_makes_the_same_of_it(milliseconds: int, digits: float, added: list[int]) -> None:
    """That was the loop's time: sums of whole milliseconds, but for what came of adding them."""
    stored = max(0.0, milliseconds / 1000 + digits)
    begun = restored(stored)
    for steps in added:
        stored += steps * STEP
        begun += steps * STEP
        assert restored(stored) == begun
