"""Long work in pieces, between which the event loop has a turn: whatever else this process serves does not wait for the whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import islice
from typing import Any, TypeVar

from sidecar.store.client import Store
from sidecar.store.link import Command

AT_ONCE = 1000
"""Small steps, of some microseconds each, between two turns."""
TRIP = 200
"""Reads of one trip to the store: requests wait for it while it is at one, and each trip has a deadline of its own."""

T = TypeVar("T")


class Turns:
    """Counts small steps, and gives others a turn when there were many."""

    def __init__(self) -> None:
        self._steps = 0

    async def after(self, steps: int = 1) -> None:
        """Note that so many steps were done; gives others a turn when there were many since the last one."""
        self._steps += steps
        if self._steps >= AT_ONCE:
            self._steps = 0
            await asyncio.sleep(0)


async def replies(store: Store, items: Iterable[T], command: Callable[[T], Command], most: int = TRIP) -> AsyncIterator[tuple[T, Any]]:
    """Each of `items` with the reply to its command, `most` of them in a trip; raises StoreUnavailable."""
    left = iter(items)
    while part := list(islice(left, most)):
        for item, reply in zip(part, await store.pipeline([command(item) for item in part]), strict=True):
            yield item, reply
        await asyncio.sleep(0)
