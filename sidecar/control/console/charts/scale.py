"""Axes: round numbers that an axis may end in, and the names of moments."""

from __future__ import annotations

from datetime import UTC, datetime
from math import floor, log10

_ROUND = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
YEAR, DAY, HOUR = 365 * 86400, 86400, 3600


def top(highest: float, *, whole: bool = True) -> float:
    """The first round number that is not below `highest`; an even one for counts, so that the middle is one too."""
    if whole:
        highest = max(highest, 2.0)
    elif highest <= 0:
        return 1.0
    power = 10.0 ** floor(log10(highest))
    rounds = (step * power for step in _ROUND)
    if whole:
        return next(end for end in rounds if end >= highest and end % 2 == 0)
    return next(end for end in rounds if end >= highest * 0.999999)


def tick(time: float, step: float, length: float = 0.0) -> str:
    """A moment as an axis of `length` seconds names it: no two moments of it by one name."""
    moment = datetime.fromtimestamp(time, UTC)
    if step >= DAY:
        return f"{moment:%b} {moment.day} {moment.year}" if length >= YEAR else f"{moment:%b} {moment.day}"
    return f"{moment:%b} {moment.day} {moment:%H:%M}" if step > HOUR or length >= DAY else f"{moment:%H:%M}"


def bucket(time: float, step: float) -> str:
    """The beginning of a bucket as a table names it."""
    moment = datetime.fromtimestamp(time, UTC)
    return f"{moment:%Y-%m-%d}" if step >= DAY else f"{moment:%Y-%m-%d %H:%M}"
