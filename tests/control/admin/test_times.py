from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.admin.times import to_seconds, to_time

MILLISECONDS = st.integers(0, 4_000_000_000_000)


@given(MILLISECONDS)
def test_whole_milliseconds_come_back_as_they_were(milliseconds: int) -> None:
    assert to_seconds(to_time(milliseconds / 1000)) == milliseconds / 1000


@given(st.floats(0, 4e9), MILLISECONDS)
def test_what_is_shown_lies_on_the_same_side_of_every_millisecond(seconds: float, milliseconds: int) -> None:
    """So that a shown time, given back as `from` or `to`, means the call that it was shown with."""
    shown = to_seconds(to_time(seconds))
    assert shown <= seconds
    assert (shown < milliseconds / 1000) == (seconds < milliseconds / 1000)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (1.9999, datetime(1970, 1, 1, 0, 0, 1, 999000, UTC)),
        (2.0, datetime(1970, 1, 1, 0, 0, 2, 0, UTC)),
        (2.00004, datetime(1970, 1, 1, 0, 0, 2, 0, UTC)),
        (1e20, datetime(9999, 12, 31, 23, 59, 59, 0, UTC)),
        (-1e20, datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_time_is_cut_to_milliseconds_within_the_calendar(seconds: float, shown: datetime) -> None:
    assert to_time(seconds) == shown
