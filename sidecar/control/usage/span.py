"""Cuts a span of time into the stored buckets that cover it. Pure; all times are Unix seconds.

Whole days of all keys together come from the day series where nobody asks for less, whole hours from the hour
series, whole minutes from the minute series, and what is left of a minute from the call log. Minutes are kept
for less long than hours, and the log for less long still: where something is gone, the span is widened, so
that what a report says and what its span says always agree.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sidecar.control.totals.series import DAY, HOUR, MINUTE

STEPS = {"1m": MINUTE, "1h": HOUR, "1d": DAY}

Range = tuple[float, float]
"""Half-open."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What to read; the ranges do not overlap, and together they are [start, end)."""

    start: float
    end: float
    hours: tuple[Range, ...]
    minutes: tuple[Range, ...]
    calls: tuple[Range, ...] = ()
    days: tuple[Range, ...] = ()


def in_days(plan: Cut) -> Cut:
    """The same with whole days for the hours that make them."""
    days, hours = [], []
    for first, last in plan.hours:
        low, high = up(first, DAY), down(last, DAY)
        days += _ranges((low, high))
        hours += _ranges((first, low), (high, last)) if low < high else [(first, last)]
    return replace(plan, hours=tuple(hours), days=tuple(days))


def cut(start: float, end: float, *, minutes_from: float, hours_until: float, calls_from: float, fine: bool) -> Cut:
    """Cover [start, end).

    Minutes are read from `minutes_from` on, a whole hour; every call that ended after `calls_from` is in the
    log; hours are complete up to `hours_until`, a whole hour. `fine` asks for minutes wherever they are read,
    not only where hours do not fit.
    """
    if start >= end:
        return Cut(start, end, (), ())
    calls: list[Range] = []
    first, last = up(start, MINUTE), down(end, MINUTE)
    if first > last and start > calls_from and down(start, MINUTE) >= minutes_from:
        return Cut(start, end, (), (), ((start, end),))
    if start < first:
        if start > calls_from and first <= last:
            calls.append((start, first))
        else:
            first = down(start, MINUTE)
    if last < end:
        if last > calls_from and first <= last:
            calls.append((last, end))
        else:
            last = up(end, MINUTE)
    hours, minutes = _buckets(first, last, minutes_from, hours_until if not fine else minutes_from)
    whole = [*hours, *minutes]
    if whole:
        low, high = min(each[0] for each in whole), max(each[1] for each in whole)
        # Widened to hours, the buckets may have swallowed the rest of a minute.
        calls = [each for each in calls if each[1] <= low or each[0] >= high]
    edges = [*whole, *calls]
    return Cut(min(each[0] for each in edges), max(each[1] for each in edges), tuple(hours), tuple(minutes), tuple(calls))


def _buckets(first: int, last: int, minutes_from: float, hours_until: float) -> tuple[list[Range], list[Range]]:
    if first >= last:
        return [], []
    if first < minutes_from:
        first = down(first, HOUR)
    if last < minutes_from:
        last = up(last, HOUR)
    low, high = up(first, HOUR), min(down(last, HOUR), int(max(hours_until, minutes_from)))
    if low >= high:
        return [], [(first, last)]
    return _ranges((low, high)), _ranges((first, low), (high, last))


def minutes_read_from(now: float, kept: float) -> int:
    """The first hour whose minutes are read; they go all together, `kept` seconds after its end.

    Those that have less than an hour left are not read if their hour is complete: they may go while a report is made, and by
    the clock of the store, which may be ahead, they may have gone.
    """
    lasting = up(now - kept, HOUR)
    return lasting if lasting <= details_until(now) else down(now - kept, HOUR)


def details_until(now: float) -> int:
    """Until when hours and the lists of used keys are complete; under load they come into the store a little later than minutes."""
    return down(now - HOUR, HOUR)


def numbers(ranges: tuple[Range, ...], size: int) -> list[int]:
    """The buckets of `size` seconds that `ranges` touch."""
    return sorted({number for first, last in ranges for number in range(int(first // size), int(-(-last // size)))})


def inside(time: float, ranges: tuple[Range, ...]) -> bool:
    """Whether `time` lies in one of `ranges`."""
    return any(first <= time < last for first, last in ranges)


def down(time: float, size: int) -> int:
    """The last multiple of `size` that is not after `time`."""
    return int(time // size) * size


def up(time: float, size: int) -> int:
    """The first multiple of `size` that is not before `time`."""
    return int(-(-time // size)) * size


def _ranges(*ranges: Range) -> list[Range]:
    return [(first, last) for first, last in ranges if first < last]
