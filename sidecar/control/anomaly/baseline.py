"""What is usual for a key: the busiest minute, five minutes, hour and day of each of its last seven days of use.

Days without use do not count, so that a holiday is not forgotten ground. The current hour and the one
before it are left out, so that an attack is not measured against itself.
"""

from __future__ import annotations

import msgspec

from sidecar.control.anomaly.signals import DAY, HOUR
from sidecar.control.anomaly.windows import SERVED, TOKENS, Window

DAYS = 7
WEEK_HOURS = 168
WEEK_BOUND = 0xFFFF
"""Requests of an hour beyond which it makes no difference; it also bounds what a memory takes."""


class Peaks(msgspec.Struct, array_like=True, gc=False):
    """The most of anything in a stretch of time: requests and tokens of a minute, five minutes, an hour and a day."""

    minute: int = 0
    five: int = 0
    hour: int = 0
    tokens_minute: int = 0
    tokens_five: int = 0
    tokens_hour: int = 0
    tokens_day: int = 0
    networks: int = 0
    """Different networks within ten minutes."""
    in_flight: int = 0

    def raise_to(self, other: Peaks) -> None:
        """Take the greater of each."""
        self.minute = max(self.minute, other.minute)
        self.five = max(self.five, other.five)
        self.hour = max(self.hour, other.hour)
        self.tokens_minute = max(self.tokens_minute, other.tokens_minute)
        self.tokens_five = max(self.tokens_five, other.tokens_five)
        self.tokens_hour = max(self.tokens_hour, other.tokens_hour)
        self.tokens_day = max(self.tokens_day, other.tokens_day)
        self.networks = max(self.networks, other.networks)
        self.in_flight = max(self.in_flight, other.in_flight)


class Baseline(msgspec.Struct, array_like=True):
    """Learns from one step after the other; `usual` is what a step is measured against."""

    usual: Peaks = msgspec.field(default_factory=Peaks)
    days: list[tuple[int, Peaks]] = []
    """(day number, peaks), oldest first."""
    hour: int = 0
    this_hour: Peaks = msgspec.field(default_factory=Peaks)
    last_hour: Peaks = msgspec.field(default_factory=Peaks)
    tokens_today: int = 0
    today: int = 0
    week: list[int] = []
    """Requests by hour of the week, fading by half each week; empty until the first hour is over."""

    def count(self, served: int, tokens: int, window: Window) -> None:
        """Count a step into the hour; `window` has it already."""
        hour, minute, five = self.this_hour, window.minute, window.five
        hour.hour += served
        hour.tokens_hour += tokens
        self.tokens_today += tokens
        if minute[SERVED] > hour.minute:
            hour.minute = minute[SERVED]
        if five[SERVED] > hour.five:
            hour.five = five[SERVED]
        if minute[TOKENS] > hour.tokens_minute:
            hour.tokens_minute = minute[TOKENS]
        if five[TOKENS] > hour.tokens_five:
            hour.tokens_five = five[TOKENS]

    def advance(self, time: int, *, learn: bool) -> None:
        """Move on to `time`. Without `learn` what has passed is forgotten."""
        hour = time // HOUR
        if hour <= self.hour:
            return
        if self.hour:
            self._close(self.last_hour, self.hour - 1, learn=learn)
            if learn:
                self._count_week(hour)
            self.last_hour = self.this_hour
            if hour > self.hour + 1:
                self._close(self.last_hour, self.hour, learn=learn)
                self.last_hour = Peaks()
        self.this_hour = Peaks()
        self.hour = hour
        day = time // DAY
        if day != self.today:
            if self.today and learn:
                self._close(Peaks(tokens_day=self.tokens_today), self.today * 24, learn=True)
            self.today, self.tokens_today = day, 0

    def share_of_hour(self, time: int) -> float:
        """Which share of its week's requests falls into this hour of the week; 1.0 while nothing is known."""
        total = sum(self.week)
        return self.week[time // HOUR % WEEK_HOURS] / total if total else 1.0

    def _close(self, peaks: Peaks, hour: int, *, learn: bool) -> None:
        if not learn or not (peaks.hour or peaks.tokens_day or peaks.networks):
            return
        day = hour // 24
        for known, kept in reversed(self.days):
            if known == day:
                kept.raise_to(peaks)
                break
        else:
            self.days = [*self.days[-DAYS:], (day, peaks)]
        self.usual = Peaks()
        for _, kept in self.days:
            self.usual.raise_to(kept)

    def _count_week(self, next_hour: int) -> None:
        if not self.week:
            self.week = [0] * WEEK_HOURS
        slot = self.hour % WEEK_HOURS
        count = (self.week[slot] + self.this_hour.hour + 1) // 2 if self.week[slot] else self.this_hour.hour
        self.week[slot] = min(count, WEEK_BOUND)
        for idle in range(self.hour + 1, min(next_hour, self.hour + WEEK_HOURS + 1)):
            self.week[idle % WEEK_HOURS] //= 2
