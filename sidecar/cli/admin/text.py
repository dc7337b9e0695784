"""Values as people read them: times relative to now, counts in few digits, text that cannot drive a terminal. Pure."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime

from sidecar.settings.values import Duration

_UNITS = ((86400 * 365, "y"), (86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_DURATION = re.compile(r"\d+(?:\.\d+)?(?:ms|s|m|h|d)")


def printable(text: str) -> str:
    """`text` without control and formatting characters: names and agents come from clients, terminals obey escapes."""
    return "".join(_REPLACEMENT if unicodedata.category(character) in _UNPRINTABLE else character for character in text)


def width(text: str) -> int:
    """Terminal columns that `text` takes."""
    return sum(map(_columns, text))


def shorten(text: str, columns: int) -> str:
    """`text` in at most `columns` columns, with an ellipsis where something was cut."""
    taken = kept = 0
    for place, character in enumerate(text, 1):
        taken += _columns(character)
        if taken > columns:
            return text[:kept] + "…" if columns > 0 else ""
        if taken < columns:
            kept = place
    return text


def _columns(character: str) -> int:
    # Marks that take no room of their own; those of Thai and Hindi are of no combining class.
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def parse_time(text: str) -> datetime:
    """An RFC 3339 time of the API."""
    return datetime.fromisoformat(text)


def span(seconds: float) -> str:
    """A length of time in its largest unit: `45 s`, `3 min`, `12 d`."""
    seconds = abs(seconds)
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "0 s"


def relative(text: str | None, now: datetime, never: str = "never") -> str:
    """A time of the API as seen from `now`: `3 min ago`, `in 12 d`."""
    if text is None:
        return never
    distance = (parse_time(text) - now).total_seconds()
    if abs(distance) < 1:
        return "now"
    # A key made a moment ago for 90 days ends in 90 days, not in 89.
    return f"in {span(distance + 0.999)}" if distance > 0 else f"{span(distance)} ago"


def moment(text: str | None, now: datetime) -> str:
    """The same with the absolute time beside it; `never` when there is none."""
    return "never" if text is None else f"{parse_time(text):%Y-%m-%d %H:%M:%S} UTC ({relative(text, now)})"


def count(value: float | None) -> str:
    """A count with thousands separated; `-` when it is not known."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}" if value >= 1 else _fraction(value)


def amount(number: int, thing: str) -> str:
    """`1 key`, `1,200 keys`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def brief(value: float) -> str:
    """A count in few characters: `950`, `12.3k`, `4.1M`, `0.052`."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            scaled = value / size
            return f"{scaled:.0f}{unit}" if scaled >= 100 else f"{scaled:.1f}{unit}"
    if float(value).is_integer():
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 1 else _fraction(value)


def _fraction(value: float) -> str:
    # A call costs a few hundredths of a credit: to one decimal it would read 0.0, or twice what it is.
    return f"{value:.2g}" if value >= 0.001 else "<0.001"


def is_duration(text: str) -> bool:
    """Whether this is a duration: `24h`, `1.5d`."""
    return _DURATION.fullmatch(text) is not None


def read_moment(text: str, now: datetime, *, past: bool) -> str:
    """What a person typed for a time, as RFC 3339.

    A duration (`24h`) is counted from `now`, backwards when `past`; a date is its midnight in UTC.
    Raises ValueError with what to write instead.
    """
    try:
        if is_duration(text):
            seconds = float(Duration.parse(text))
            return datetime.fromtimestamp(now.timestamp() + (-seconds if past else seconds), UTC).isoformat()
        time = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        # Of a duration: it leads out of the calendar.
        raise ValueError(f"{text!r} is not a time; write a duration (24h, 7d) or a date and time (2026-01-31T12:00:00Z)") from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).isoformat()
