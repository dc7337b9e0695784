"""Deadlines for thousands of connections at the price of one timer.

All items of one queue have the same patience, so the order of arming is the order of expiry and a
dict is the whole data structure: arming is a move to its end, a tick looks only at its front.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)

TICK = 0.1
"""Seconds between two looks: how late a deadline may be."""


class DeadlineQueue(Generic[Item]):
    """Calls `expired(item)` once an armed item has waited for `patience` seconds."""

    def __init__(self, patience: float, clock: Callable[[], float], expired: Callable[[Item], None]) -> None:
        self._patience = patience
        self._clock = clock
        self._expired = expired
        self._armed: dict[Item, float] = {}

    def arm(self, item: Item) -> None:
        """Start the item's wait, or start it again."""
        armed = self._armed
        if item in armed:
            del armed[item]
        armed[item] = self._clock() + self._patience

    def disarm(self, item: Item) -> None:
        """Forget the item."""
        self._armed.pop(item, None)

    def take_oldest(self, waited: float = 0.0) -> Item | None:
        """Disarm and return the item that has waited for longest, if that is at least `waited` seconds."""
        for item, deadline in self._armed.items():
            if self._clock() - (deadline - self._patience) < waited:
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
                self._expired(item)


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
        for queue in self._queues:
            queue.tick(now)
        self._expected = now + TICK
        self._handle = self._loop.call_at(self._expected, self._tick)
