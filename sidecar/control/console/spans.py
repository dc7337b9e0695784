"""The spans of time that a person may look at, and how finely each is drawn. Pure; times are Unix seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

MINUTE, HOUR, DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True)
class Span:
    """[start, end); `start` is on a whole step, `end` on a whole minute or hour, at most the end of the one that runs."""

    code: str
    name: str
    start: float
    end: float
    step: int
    """Seconds of one bucket of a chart."""
    fault: str = ""
    """Why it is not the span that was asked for."""
    asked: tuple[str, str] = ("", "")
    """What was typed as From and To where there is a fault."""

    @property
    def times(self) -> list[float]:
        """Where the buckets begin."""
        return [float(time) for time in range(int(self.start), int(self.end), self.step)]

    @property
    def form_start(self) -> str:
        """`start` as a form writes it, or what was typed instead."""
        return self.asked[0] if self.fault else datetime.fromtimestamp(self.start, UTC).strftime("%Y-%m-%dT%H:%M")

    @property
    def form_end(self) -> str:
        """The same of `end`."""
        return self.asked[1] if self.fault else datetime.fromtimestamp(self.end, UTC).strftime("%Y-%m-%dT%H:%M")

    @property
    def before(self) -> tuple[float, float]:
        """The span of the same length that came before, for comparison."""
        return 2 * self.start - self.end, self.start


_RANGES = {
    "1h": ("Last hour", HOUR, MINUTE),
    "24h": ("Last 24 hours", DAY, HOUR),
    "7d": ("Last 7 days", 7 * DAY, 6 * HOUR),
    "30d": ("Last 30 days", 30 * DAY, DAY),
    "90d": ("Last 90 days", 90 * DAY, DAY),
}
RANGES = tuple((code, name) for code, (name, _, _) in _RANGES.items())
DEFAULT = "24h"
_FINEST = ((3 * HOUR, MINUTE), (3 * DAY, HOUR), (14 * DAY, 6 * HOUR), (400 * DAY, DAY), (2800 * DAY, 7 * DAY))
_COARSEST = 70 * DAY
"""A chart of all years since 1970 has no more buckets than others."""


def chosen(query: Mapping[str, str], now: float, minutes_kept: float) -> Span:
    """The span that `range`, or `from` and `to`, ask for; what cannot be read is the default, and says so.

    Of what is older than `minutes_kept` seconds only whole hours are left, which a chart by the minute would show as minutes.
    """
    end = _up(now, MINUTE)
    fault = ""
    if "from" in query or "to" in query:
        first, last = _moment(query.get("from", "")), _moment(query["to"]) if query.get("to") else end
        last = None if last is None else min(last, end)
        if first is not None and last is not None and (first := max(first, 0.0)) < last:
            step = next((step for length, step in _FINEST if last - first <= length), _COARSEST)
            if now - first > minutes_kept - HOUR:
                # Minutes go a whole hour at a time, and of the one that goes next they are no longer read.
                step = max(step, HOUR)
            return Span("custom", "Chosen span", _down(first, step), _up(last, min(step, HOUR)), step)
        fault = "This is not a span of time: From and To must be moments, From before To and not in the future."
    code = query.get("range", DEFAULT)
    name, length, step = _RANGES.get(code, _RANGES[DEFAULT])
    # The bucket that has just begun is the last; before it the others are whole.
    asked = query.get("from", ""), query.get("to", "")
    return Span(code if code in _RANGES else DEFAULT, name, _down(end - 1, step) - length + step, end, step, fault, asked)


def _moment(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _down(time: float, step: int) -> float:
    return time // step * step


def _up(time: float, step: int) -> float:
    return -(-time // step) * step
