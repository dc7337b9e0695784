"""Keeps what /metrics says of keys true: new keys, changed ones, and when each was last used.

A connection reports changed keys; `sync` makes sure that every report of a change made before it has
arrived, so a key has its rows from the first scrape after its creation.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from sidecar.control.metrics.counts import OVERFLOW
from sidecar.control.metrics.keys import IDLE, LabelledKeys
from sidecar.keys.adoption import Adoption
from sidecar.keys.listing import Query
from sidecar.keys.record import Key
from sidecar.keys.repository import KeyRepository
from sidecar.store import names
from sidecar.store.client import Store, StoreUnavailable, Tracking

HEARTBEAT = 1.0
"""Seconds between two looks at what has changed."""
PAGE = 200
"""Keys that are read at a time."""
USES_EVERY = 30.0
"""Seconds after which the last uses of all labelled keys are read again: other replicas note some too."""
SYNC_WITHIN = 0.2
"""Seconds that a scrape waits for what has changed."""

_log = logging.getLogger(__name__)


class KeyWatch:
    """Run `run` as a task; `forget` drops what is counted of keys that are over, `clock` gives Unix seconds."""

    def __init__(
        self,
        store: Store,
        adoption: Adoption,
        repository: KeyRepository,
        keys: LabelledKeys,
        forget: Callable[[Sequence[str]], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._adoption = adoption
        self._repository = repository
        self._keys = keys
        self._forget = forget
        self._clock = clock
        self._tracking: Tracking | None = None
        self._changed: set[str] = set()
        self._everything = True
        self._uses_at = 0.0
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                self._tracking = await self._store.track([names.KEY_PREFIX], self._note, self._adoption.question)
                self._everything = True
                while True:
                    await self._sync(1.0)
                    await asyncio.sleep(HEARTBEAT)
            except StoreUnavailable as error:
                _log.debug("keys cannot be watched: %s", error)
            finally:
                await self._close()
            await asyncio.sleep(HEARTBEAT)

    async def sync(self) -> None:
        """Take in every change made before this call, as far as the store can be asked at once."""
        try:
            async with asyncio.timeout(SYNC_WITHIN):
                await self._sync(SYNC_WITHIN)
        except (StoreUnavailable, TimeoutError):
            return

    async def _sync(self, timeout: float) -> None:
        async with self._lock:
            if self._tracking is None:
                return
            self._adoption.check(await self._tracking.prove(timeout))
            if self._everything:
                await self._read_all()
            changed = [key_id for key_id in self._changed | set(self._keys.unread()) if self._keys.label(key_id) != OVERFLOW]
            for start in range(0, len(changed), PAGE):
                await self._read(changed[start : start + PAGE])
            now = self._clock()
            # A clock that was put back must not keep it from reading for as long.
            uses_are_due = abs(now - self._uses_at) >= USES_EVERY
            if uses_are_due:
                # Before any place is given up: at the start every key looks as if it had not been used for long.
                await self._read_uses()
                self._uses_at = now
            if changed or uses_are_due:
                await self._retire(now)

    async def _retire(self, now: float) -> None:
        gone = self._keys.retire(now)
        if gone:
            # Whoever waits for these places is found by reading all: a key that has none is not heard of.
            self._everything = True
            await self._forget(gone)
        self._keys.overflowing = self._keys.without_place(await self._repository.count(revoked=False))

    async def _read_all(self) -> None:
        """Give the newest keys places, as far as there are any."""
        is_crowded = self._keys.is_crowded(await self._repository.count(revoked=False))
        cursor: str | None = None
        seen = 0
        while True:
            page = await self._repository.list(Query(limit=PAGE, cursor=cursor))
            # A key that is idle would lose its place again at once. It takes one with its next use, as those that are not looked at.
            for key in await self._in_use(page.keys) if is_crowded else page.keys:
                self._keys.put(key, self._clock())
            cursor = page.next_cursor
            seen += len(page.keys)
            if cursor is None or len(self._keys.records) >= self._keys.limit or (is_crowded and seen >= self._keys.limit):
                break
        self._changed |= set(self._keys.records)
        self._everything = False
        self._uses_at = 0.0

    async def _read(self, key_ids: list[str]) -> None:
        # What is reported from here on may not be in what is read.
        self._changed.difference_update(key_ids)
        try:
            found = await self._repository.get_many(key_ids)
        except (StoreUnavailable, asyncio.CancelledError):
            self._changed.update(key_ids)
            raise
        for key_id, key in zip(key_ids, found, strict=True):
            if key is None:
                self._keys.drop([key_id])
            else:
                self._keys.put(key, self._clock())

    async def _in_use(self, keys: Sequence[Key]) -> list[Key]:
        uses = await self._repository.uses([key.id for key in keys])
        used_at = {key_id: use.last_used_at or 0.0 for key_id, use in uses.items()}
        since = self._clock() - IDLE
        return [key for key in keys if key.id in self._keys.records or max(key.created_at, used_at.get(key.id, 0.0)) > since]

    async def _read_uses(self) -> None:
        self._keys.doubt(self._clock())
        key_ids = list(self._keys.records)
        for start in range(0, len(key_ids), PAGE):
            for key_id, use in (await self._repository.uses(key_ids[start : start + PAGE])).items():
                if use.last_used_at is not None:
                    self._keys.used(key_id, use.last_used_at)

    def _note(self, changed: Sequence[bytes] | None) -> None:
        if changed is None:
            self._everything = True
            return
        prefix = len(names.KEY_PREFIX)
        for name in changed:
            key_id = name[prefix:].decode()
            # Keys without a place need not be remembered: there may be a million of them.
            if key_id in self._keys.records or len(self._keys.records) < self._keys.limit:
                self._changed.add(key_id)

    async def _close(self) -> None:
        tracking, self._tracking = self._tracking, None
        if tracking is not None:
            await tracking.close()
