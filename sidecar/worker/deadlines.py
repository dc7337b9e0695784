"""Deadlines for thousands of connections at the price of one timer.

All items of one queue have the same patience, so the order of arming is the order of expiry and a
dict is the whole data structure: arming is a move to its end, a tick looks only at its front.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_log = logging.getLogger(__name__)

Item = TypeVar("Item", bound=Hashable)

TICK = 0.1
"""Seconds between two looks: how late a deadline may be."""
LOOKS = 4
"""How often a watched item is looked at within its patience: it may expire late by the time between two looks."""


class _Watch:
    """An item that must keep making progress."""

    __slots__ = ("look_at", "mark", "progress", "since")

    def __init__(self, progress: Callable[[], int]) -> None:
        self.progress = progress
        self.look_at = 0.0
        self.mark: int | None = None
        """`progress()` at the last look; None before the first."""
        self.since = 0.0
        """When it was last seen to have made progress."""

    def waited(self, now: float) -> float:
        """Seconds since it was last seen to make progress."""
        reached = self.progress()
        if self.mark is None or reached > self.mark:
            self.since = now
        self.mark = reached
        return now - self.since


class DeadlineQueue(Generic[Item]):
    """Calls `expired(item)` once an armed item has waited for `patience` seconds, or a watched one has made no progress for as long."""

    def __init__(self, patience: float, clock: Callable[[], float], expired: Callable[[Item], None]) -> None:
        self._patience = patience
        self._clock = clock
        self._expired = expired
        self._armed: dict[Item, float] = {}
        self._watched: dict[Item, _Watch] = {}

    @property
    def waiting(self) -> int:
        """How many items may expire."""
        return len(self._armed) + len(self._watched)

    def __contains__(self, item: Item) -> bool:
        """Whether the item may expire."""
        return item in self._armed or item in self._watched

    def arm(self, item: Item) -> None:
        """Start the item's wait, or start it again."""
        armed = self._armed
        if item in armed:
            del armed[item]
        armed[item] = self._clock() + self._patience

    def disarm(self, item: Item) -> None:
        """Forget the item."""
        self._armed.pop(item, None)
        if self._watched:
            self._watched.pop(item, None)

    def watch(self, item: Item, progress: Callable[[], int]) -> None:
        """Expire the item, instead of at a fixed time, once `progress()`, which grows, has not grown for `patience` seconds."""
        self._armed.pop(item, None)
        self._look_later(item, _Watch(progress), self._clock())

    def _look_later(self, item: Item, watch: _Watch, now: float) -> None:
        # At the end: the dict stays in the order in which its items are due.
        self._watched.pop(item, None)
        watch.look_at = now + self._patience / LOOKS
        self._watched[item] = watch

    def take_oldest(self, waited: float = 0.0) -> Item | None:
        """Disarm and return the armed item that has waited for longest, if that is at least `waited` seconds."""
        for item, deadline in self._armed.items():
            # Added as in `arm`: what is subtracted again is rounded, and who was armed at this very moment would not be found.
            if self._clock() + self._patience < deadline + waited:
                break
            del self._armed[item]
            return item
        return None

    def tick(self, now: float) -> None:
        """Expire what is due at `now`."""
        due: list[Item] = []
        for item, deadline in self._armed.items():
            if deadline > now:
                break
            due.append(item)
        for item in due:
            # An earlier expiry of this very tick may have disarmed it.
            if self._armed.pop(item, None) is not None:
                self._expire(item)
        if self._watched:
            self._look(now)

    def _look(self, now: float) -> None:
        due: list[Item] = []
        for item, watch in self._watched.items():
            if watch.look_at > now:
                break
            due.append(item)
        for item in due:
            watched = self._watched.get(item)
            if watched is None:
                continue
            if self._makes_progress(watched, now):
                self._look_later(item, watched, now)
            else:
                del self._watched[item]
                self._expire(item)

    def _makes_progress(self, watched: _Watch, now: float) -> bool:
        try:
            return watched.waited(now) < self._patience
        except Exception:
            # Else it would never expire.
            _log.exception("whether a connection makes progress could not be told; it counts as standing still")
            return False

    def _expire(self, item: Item) -> None:
        try:
            self._expired(item)
        except Exception:
            # What goes wrong with one must not keep the others, of this queue and of the next ones, for ever.
            _log.exception("a connection could not be given up when its time was over")


class Ticker:
    """Ticks queues until it is stopped; also measures how late the event loop runs."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queues: list[DeadlineQueue[object]] = []
        self._handle: asyncio.TimerHandle | None = None
        self._expected = 0.0
        self._lag = 0.0

    def queue(self, patience: float, expired: Callable[[Item], None]) -> DeadlineQueue[Item]:
        """A new queue that ticks from now on."""
        queue: DeadlineQueue[Item] = DeadlineQueue(patience, self._loop.time, expired)
        self._queues.append(queue)  # type: ignore[arg-type]
        return queue

    def start(self) -> None:
        """Begin to tick."""
        self._expected = self._loop.time() + TICK
        self._handle = self._loop.call_at(self._expected, self._tick)

    def stop(self) -> None:
        """Tick no more."""
        if self._handle is not None:
            self._handle.cancel()

    def take_lag(self) -> float:
        """The longest delay of a tick since this was last asked, in seconds: the event loop's lag."""
        lag, self._lag = self._lag, 0.0
        return lag

    def _tick(self) -> None:
        now = self._loop.time()
        self._lag = max(self._lag, now - self._expected)
        try:
            for queue in self._queues:
                queue.tick(now)
        finally:
            # Whatever was raised: without the next tick the worker would keep no deadline any more.
            self._expected = now + TICK
            self._handle = self._loop.call_at(self._expected, self._tick)
