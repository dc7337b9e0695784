"""What a key has been seen to use: a bounded map of salted numbers, oldest use forgotten first."""

from __future__ import annotations

import msgspec

from sidecar.control.anomaly.detectors.baseline import LATENESS
from sidecar.control.anomaly.detectors.signals import DAY, MINUTE

HABIT_WINDOW = 7 * DAY
BURST = 10 * MINUTE
"""What began within this long may all be of one event: no habit shows by it."""

CROWDED_FOR = 35 * DAY
"""Longer than a month: what comes once in that time comes again before it is over."""

_KEPT = 8


class Sighting(msgspec.Struct, array_like=True):
    """One network, program, model or route of a key."""

    first: int
    last: int
    new_until: int = 0
    """Until then it counts as new; 0 for what was there while the key was learnt."""
    stranger: bool = False
    """Only new networks have used it so far; no known network vouches for it."""

    def believe(self) -> None:
        """It is known from now on."""
        self.new_until = 0
        self.stranger = False


class Seen(msgspec.Struct, array_like=True):
    """Up to `capacity` sightings by salted number, and when the last few began: 8 of the newest ten minutes, and 8 before them."""

    capacity: int
    sightings: dict[int, Sighting] = {}
    beginnings: list[int] = []
    crowded: int = 0
    """When something that was still in use had to be forgotten for lack of room; 0 for never."""

    def meet(self, number: int, now: int) -> Sighting:
        """Add what was not there."""
        if len(self.sightings) >= self.capacity:
            oldest = min(self.sightings, key=lambda known: self.sightings[known].last)
            if self.sightings.pop(oldest).last > now - CROWDED_FOR:
                self.crowded = now
        sighting = self.sightings[number] = Sighting(now, now)
        # A burst must not push out what it is judged by; and its first ones stay, or of a busy key none would grow old enough to count.
        older = [time for time in self.beginnings if not is_since(time, now - BURST, now)]
        burst = [time for time in self.beginnings if is_since(time, now - BURST, now)]
        self.beginnings = [*older[-_KEPT:], *burst[: _KEPT - 1], now]
        return sighting

    def find(self, number: int, formerly: int | None) -> Sighting | None:
        """What is known as `number`; what is only known as it was formerly numbered moves there."""
        sighting = self.sightings.get(number)
        if sighting is None and formerly is not None and formerly in self.sightings:
            sighting = self.sightings[number] = self.sightings.pop(formerly)
        return sighting

    def begun_since(self, time: int, now: int) -> int:
        """How many began after `time` (at most 8 are remembered)."""
        return sum(1 for beginning in self.beginnings if is_since(beginning, time, now))

    def is_habit(self, now: int, limit: int, ignoring: int = 0) -> bool:
        """Whether more than `limit` (7 at most) began in the seven days before the last `ignoring` seconds."""
        return sum(1 for beginning in self.beginnings if now - HABIT_WINDOW < beginning <= now - ignoring) > limit

    def is_crowded(self, now: int) -> bool:
        """Whether what is not remembered may have been forgotten for lack of room, and be nothing new."""
        return is_since(self.crowded, now - CROWDED_FOR, now)

    def used_since(self, time: int, now: int) -> int:
        """How many were used after `time`."""
        return sum(1 for sighting in self.sightings.values() if is_since(sighting.last, time, now))


def is_since(when: int, time: int, now: int) -> bool:
    """Whether `when` is after `time`, as far as is known `now`: what is further ahead was told by a clock that was put back since."""
    return time < when <= now + LATENESS
