"""The calendar periods of quotas. Pure: an instant and a quota give a period; periods of one kind and zone tile all time.

A day begins at the first instant that wall clocks of the zone show its date, so a day with a change
of daylight saving time has 23 or 25 hours. Weeks are ISO weeks and begin on Monday.
"""

from __future__ import annotations

import logging
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sidecar.keys.record import Period, Quota

_log = logging.getLogger(__name__)


class Span(NamedTuple):
    """One period: from `start` (included) to `end` (not included), whole Unix seconds.

    `name` is `2026-11-24`, `2026-W48` or `2026-11`: it stays the same when only the zone of a quota is corrected.
    """

    name: str
    start: int
    end: int


def around(now: float, quota: Quota) -> tuple[Span, Span, Span]:
    """The period of `quota` that the Unix time `now` is in, between the one before and the one after."""
    zone = _zone(quota.timezone)
    spans = _around(quota.period, quota.timezone, datetime.fromtimestamp(now, zone).date())
    # Where clocks are put back over midnight, a date comes twice; its second beginning does not count.
    if now >= spans[1].end:
        return _around(quota.period, quota.timezone, _next(quota.period, _first(quota.period, datetime.fromtimestamp(now, zone).date())))
    return spans


@lru_cache(maxsize=1024)
def _around(kind: Period, timezone: str, day: date) -> tuple[Span, Span, Span]:
    zone = _zone(timezone)
    first = _first(kind, day)
    before, after = _first(kind, first - timedelta(days=1)), _next(kind, first)
    starts = [_instant(each, zone) for each in (before, first, after, _next(kind, after))]
    return (
        Span(_name(kind, before), starts[0], starts[1]),
        Span(_name(kind, first), starts[1], starts[2]),
        Span(_name(kind, after), starts[2], starts[3]),
    )


def _first(kind: Period, day: date) -> date:
    if kind == "day":
        return day
    return day - timedelta(days=day.weekday()) if kind == "week" else day.replace(day=1)


def _next(kind: Period, first: date) -> date:
    if kind == "day":
        return first + timedelta(days=1)
    return first + timedelta(days=7) if kind == "week" else (first + timedelta(days=31)).replace(day=1)


def _name(kind: Period, first: date) -> str:
    if kind == "week":
        year, week, _ = first.isocalendar()
        return f"{year}-W{week:02}"
    return first.isoformat() if kind == "day" else f"{first.year:04}-{first.month:02}"


def _instant(day: date, zone: ZoneInfo) -> int:
    """The first instant at which clocks in `zone` show `day`, or would, had they not skipped it."""
    midnight = int(datetime.combine(day, time(), zone).timestamp())
    # Where clocks are put forward over midnight, the date begins at the change, which is somewhere before.
    if datetime.fromtimestamp(midnight - 1, zone).date() < day:
        return midnight
    low, high = midnight - 86400, midnight
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if datetime.fromtimestamp(middle, zone).date() < day else (low, middle)
    return high


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # Another replica, with newer zones, may have accepted the name; refusing every request of the key would be worse.
        _log.warning("time zone %r of a quota is not known here, its periods are taken in UTC; update the tzdata package", name)
        return ZoneInfo("UTC")
