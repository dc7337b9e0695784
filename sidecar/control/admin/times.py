"""Times of the admin API: RFC 3339 with any offset in, UTC out; Unix seconds inside. And lengths of time in one unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta

Time = Annotated[datetime, Meta(tz=True, description="RFC 3339, with an offset; answers are in UTC.")]


_FIRST = datetime(1, 1, 1, tzinfo=UTC).timestamp()
_LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()


def to_time(seconds: float) -> datetime:
    """Unix seconds as an aware datetime in UTC, in whole milliseconds; what lies beyond the calendar becomes its end.

    Never later than `seconds`: whoever asks for what ended in [from, to) with a time that stood in an answer gets the
    call that it was the time of as `from`, and does not as `to`.
    """
    seconds = min(max(seconds, _FIRST), _LAST)
    milliseconds = math.floor(seconds * 1000)
    # The product was rounded, which may have crossed a millisecond in either direction.
    if milliseconds / 1000 > seconds:
        milliseconds -= 1
    elif (milliseconds + 1) / 1000 <= seconds:
        milliseconds += 1
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def to_time_or_none(seconds: float | None) -> datetime | None:
    """The same where nothing may be known."""
    return None if seconds is None else to_time(seconds)


def to_seconds(time: datetime) -> float:
    """An aware datetime as Unix seconds."""
    return time.timestamp()


Unit = tuple[str, int, float]
"""A name, its seconds, and the count at which the next unit takes over."""


def in_units(seconds: float, units: Sequence[Unit], *, rounded: bool = False) -> tuple[int, str]:
    """A length of time in one of `units`, which begin with the smallest: how many of it, and its name. Cut unless `rounded`."""
    counts = ((int((seconds + size / 2 if rounded else seconds) // size), name, end) for name, size, end in units)
    return next((count, name) for count, name, end in counts if count < end)
