"""What is usual for a key: the busiest minute, five minutes, hour and day of each of its last seven days of use.

Days without use do not count, so that a holiday is not forgotten ground. The current hour and the one
before it are left out, so that an attack is not measured against itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import msgspec

from sidecar.control.anomaly.detectors.amounts import NETWORKS, PEAKS, REQUEST_PEAKS, SUMMED, TOKENS, TOKENS_DAY
from sidecar.control.anomaly.detectors.signals import DAY, HOUR
from sidecar.control.anomaly.detectors.windows import Window

LATENESS = 2 * HOUR
"""What comes late is no older than this. Where more is known to have happened later than now, the clock was put back since."""

DAYS = 7
WEEK_HOURS = 168
WEEK_BOUND = 0xFFFF
"""Requests of an hour beyond which it makes no difference; it also bounds what a memory takes."""


REQUESTS_HOUR = REQUEST_PEAKS + 2
_LEARNT = tuple((amount.place, amount.peaks) for amount in SUMMED if amount.peaks is not None)

Peaks = tuple[int, ...]
"""The most of each learnt amount in a minute, five minutes and an hour, and of what else has a place in `amounts`."""

NO_PEAKS: Peaks = (0,) * PEAKS


def only(place: int, most: int) -> Peaks:
    """Nothing but `most` in `place`."""
    return (*NO_PEAKS[:place], most, *NO_PEAKS[place + 1 :])


def greater(one: Sequence[int], other: Sequence[int]) -> Peaks:
    """The greater of each; what an earlier version stored may be shorter."""
    return tuple(max(pair) for pair in zip_longest(one, other, fillvalue=0))


class Baseline(msgspec.Struct, array_like=True):
    """Learns from one step after the other; `usual` is what a step is measured against."""

    usual: Peaks = NO_PEAKS
    days: list[tuple[int, Peaks]] = []
    """(day number, peaks), oldest first. A day that an earlier version learnt stays shorter: it does not know the newer amounts."""
    hour: int = 0
    this_hour: list[int] = []
    last_hour: Peaks = NO_PEAKS
    tokens_today: int = 0
    today: int = 0
    week: list[int] = []
    """Requests by hour of the week, fading by half each week; empty until the first hour is over."""

    def __post_init__(self) -> None:
        """Give what an earlier version stored the places that it did not know."""
        self.usual, self.last_hour = greater(self.usual, NO_PEAKS), greater(self.last_hour, NO_PEAKS)
        self.this_hour += [0] * (PEAKS - len(self.this_hour))

    def count(self, amounts: Sequence[int], window: Window) -> None:
        """Count a step into the hour; `window` has it already."""
        hour, minute, five = self.this_hour, window.minute, window.five
        self.tokens_today += amounts[TOKENS]
        for place, peak in _LEARNT:
            hour[peak + 2] += amounts[place]
            if minute[place] > hour[peak]:
                hour[peak] = minute[place]
            if five[place] > hour[peak + 1]:
                hour[peak + 1] = five[place]

    def advance(self, time: int, *, learn: bool) -> None:
        """Move on to `time`. Without `learn` what has passed is forgotten; so is what a clock counted that was put back since."""
        hour = time // HOUR
        if self.is_ahead_of(time):
            self.hour, self.today, self.tokens_today = hour, time // DAY, 0
            self.this_hour, self.last_hour = [0] * PEAKS, NO_PEAKS
        if hour <= self.hour:
            return
        if self.hour:
            self._close(self.last_hour, self.hour - 1, learn=learn)
            if learn:
                self._count_week(hour)
            self.last_hour = tuple(self.this_hour)
            if hour > self.hour + 1:
                self._close(self.last_hour, self.hour, learn=learn)
                self.last_hour = NO_PEAKS
        self.this_hour = [0] * PEAKS
        self.hour = hour
        day = time // DAY
        if day != self.today:
            if self.today and learn:
                self._close(only(TOKENS_DAY, self.tokens_today), self.today * 24, learn=True)
            self.today, self.tokens_today = day, 0

    def is_ahead_of(self, time: int) -> bool:
        """Whether `time` lies before the last two hours, which come a little late at most."""
        return time // HOUR <= self.hour - LATENESS // HOUR

    def share_of_hour(self, time: int) -> float:
        """Which share of its week's requests falls into this hour of the week; 1.0 while nothing is known."""
        total = sum(self.week)
        return self.week[time // HOUR % WEEK_HOURS] / total if total else 1.0

    def _close(self, peaks: Peaks, hour: int, *, learn: bool) -> None:
        if not learn or not (peaks[REQUESTS_HOUR] or peaks[TOKENS_DAY] or peaks[NETWORKS]):
            return
        day = hour // 24
        for at, (known, kept) in enumerate(self.days):
            if known == day:
                self.days[at] = (day, greater(kept, peaks))
                break
        else:
            self.days = [*self.days[-DAYS:], (day, peaks)]
        self.usual = NO_PEAKS
        for _, kept in self.days:
            self.usual = greater(self.usual, kept)

    def _count_week(self, next_hour: int) -> None:
        if not self.week:
            self.week = [0] * WEEK_HOURS
        slot = self.hour % WEEK_HOURS
        count = (self.week[slot] + self.this_hour[REQUESTS_HOUR] + 1) // 2 if self.week[slot] else self.this_hour[REQUESTS_HOUR]
        self.week[slot] = min(count, WEEK_BOUND)
        for idle in range(self.hour + 1, min(next_hour, self.hour + WEEK_HOURS + 1)):
            self.week[idle % WEEK_HOURS] //= 2
