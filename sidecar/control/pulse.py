"""Asks twice a second whether the store opens keys and is the known one; readiness and every write rest on the answer."""

from __future__ import annotations

import asyncio
import logging
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sidecar.control.totals.buckets import STORE
from sidecar.keys.adoption import Adoption
from sidecar.store.client import Store, StoreNotAdopted, StoreUnavailable
from sidecar.store.link import Command

EVERY = 0.5
"""Seconds between two questions."""
REPEATED_EVERY = 60.0
"""Seconds after which `again` is done although no outage was seen."""

_log = logging.getLogger(__name__)


class Pulse:
    """Does `first` when the store has answered for the first time, and when a store has been adopted since; `again` whenever another
    server may have taken its place."""

    def __init__(
        self, store: Store, adoption: Adoption, first: Callable[[], Awaitable[object]], again: Callable[[], Awaitable[object]]
    ) -> None:
        self._store = store
        self._adoption = adoption
        self._first = first
        self._again = again
        self._was_strange = False
        """Whether a store was met that is not the known one: the next one that is accepted may be empty."""
        self._repeat_at = 0.0
        self.failure = "the key store has not answered yet"
        """Why the store cannot be used; empty when it can."""
        self.began = asyncio.Event()
        """Set when `first` is done."""
        self.tried = asyncio.Event()
        """Set when the store has been asked once, whatever came of it."""
        self.durations: list[float] = [0] * (len(STORE) + 2)

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            try:
                if not self.began.is_set():
                    await self._begin()
                # Whom no worker believes opens no key, though it answers: with Sentinel, a primary that takes no writes.
                await self._ask(self._store.pipeline_of_primary)
                if self._was_strange:
                    await self._do_first()
                # A failover between two looks goes unseen, so this is also done from time to time.
                if self.failure or time.monotonic() >= self._repeat_at:
                    await self._again()
                    self._repeat_at = time.monotonic() + REPEATED_EVERY
            except StoreUnavailable as error:
                # A store that is not the known one is told of by the adoption.
                is_strange = isinstance(error, StoreNotAdopted)
                self._was_strange |= is_strange
                news = not self.failure and not is_strange
                _log.log(logging.WARNING if news else logging.DEBUG, "not ready: %s", error)
                self.failure = str(error)
            else:
                if self.failure:
                    _log.info("the key store answers")
                self.failure = ""
            self.tried.set()
            await asyncio.sleep(EVERY)

    async def check(self) -> None:
        """Raise StoreUnavailable when the store does not answer, StoreNotAdopted when it is not the known one."""
        await self._ask(self._store.pipeline)

    async def _ask(self, pipeline: Callable[[Sequence[Command]], Awaitable[list[Any]]]) -> None:
        began = time.perf_counter()
        (answer,) = await pipeline([self._adoption.question])
        took = time.perf_counter() - began
        self.durations[bisect_left(STORE, took)] += 1
        self.durations[-1] += took
        self._adoption.check(answer)

    async def _begin(self) -> None:
        await self._adoption.establish(self._store)
        await self._do_first()
        self.began.set()

    async def _do_first(self) -> None:
        await self._first()
        self._was_strange = False
