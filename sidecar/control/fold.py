"""The fold: reads what the workers write, counts it for /metrics, and brings it into the store exactly once.

Two readers walk over each spool. One counts, and never waits for the store; one applies, shard by shard,
and follows what the store says of itself. While all is well both look at the same stretch, which is
then decoded and summed once.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from sidecar.control.cursor import Cursor, groups
from sidecar.control.ledger import Entry, Ledger
from sidecar.control.metrics.counts import Counter, Delta
from sidecar.control.metrics.state import Counts
from sidecar.control.spools import READ_BYTES, Chunk, Spools
from sidecar.control.sums import Pairs, Sums, decode_all
from sidecar.control.work import Planner, Work
from sidecar.store.client import StoreUnavailable
from sidecar.store.names import SHARDS

_log = logging.getLogger(__name__)


class Observer(Protocol):
    """Sees every stretch of events once, as soon as it is read."""

    def observe(self, spool_id: str, events: Pairs, sums: Sums) -> None:
        """Take in what a stretch of a spool holds."""

    def retire(self, spool_id: str) -> None:
        """The spool has been read to its end and is gone."""


class _Stretch:
    """A chunk's events beyond an offset, summed; what is made of the sums is made once."""

    def __init__(self, events: Pairs, counter: Counter, planner: Planner) -> None:
        self.events = events
        self.sums = Sums()
        self.sums.add(events)
        self.counts: Delta = counter.delta(self.sums)
        self._planner = planner
        self._works: dict[int, Work] | None = None

    def works(self) -> dict[int, Work]:
        """What the stretch changes in the store, by shard."""
        if self._works is None:
            self._works = self._planner.plan(self.sums, self.counts)
        return self._works


class Fold:
    """One control process's fold. `guard` raises StoreUnavailable while the store must not be written."""

    def __init__(
        self,
        spools: Spools,
        ledger: Ledger,
        *,
        counter: Counter,
        counts: Counts,
        planner: Planner,
        guard: Callable[[], Awaitable[None]],
        observers: Sequence[Observer] = (),
        redact: Callable[[Pairs], Pairs] = lambda pairs: pairs,
    ) -> None:
        self._spools = spools
        self._ledger = ledger
        self._counter = counter
        self._counts = counts
        self._planner = planner
        self._guard = guard
        self._observers = observers
        self._redact = redact
        self._cursors: dict[str, Cursor] = {}
        self._chunks: dict[str, Chunk] = {}
        self._stretches: dict[tuple[str, int, int, int], _Stretch] = {}
        self._gone: list[str] = []
        self.restored = False
        """Whether the counts of earlier runs are back; until then there is nothing to export."""

    async def restore(self) -> None:
        """Take up the counts of earlier runs where they stopped; raises StoreUnavailable."""
        await self._guard()
        positions, totals = await self._ledger.load()
        for stored in totals:
            self._counts.restore(stored)
        for spool_id in {spool_id for shard in positions for spool_id in shard}:
            self._cursors[spool_id] = Cursor.at([shard.get(spool_id, 0) for shard in positions])
        self.restored = True

    def count(self) -> int:
        """Read on in every spool and count; returns the number of events. Never waits."""
        self._chunks.clear()
        self._stretches.clear()
        events = 0
        for spool_id in self._scan():
            cursor = self._cursors.setdefault(spool_id, Cursor())
            start = min(cursor.counted)
            chunk = self._chunks[spool_id] = self._spools.read(spool_id, start)
            if chunk.end > start:
                self._count(chunk, cursor)
                events += len(chunk.records)
        return events

    async def apply(self) -> bool:
        """Bring one stretch of each spool into the store; whether there is more to do. Raises StoreUnavailable."""
        entries = [entry for spool_id in self._spools.ids for entry in self._entries(spool_id)]
        if entries:
            await self._guard()
            failure: StoreUnavailable | None = None
            for entry, reply in zip(entries, await self._ledger.apply(entries), strict=True):
                if isinstance(reply, StoreUnavailable):
                    failure = reply
                    continue
                cursor = self._cursors[entry.spool_id]
                if reply == entry.end:
                    cursor.advance(entry.shard, reply)
                elif cursor.correct(entry.shard, reply):
                    _log.info("shard %d of the store is at %d of spool %s: reading on from there", entry.shard, reply, entry.spool_id)
            if failure is not None:
                raise failure
        return self.backlog() > 0

    async def verify(self) -> None:
        """Compare with the store's own positions: one that fell back is brought up to date again. Raises StoreUnavailable."""
        positions = await self._ledger.positions()
        for spool_id, cursor in self._cursors.items():
            corrected = [cursor.correct(shard, positions[shard].get(spool_id, 0)) for shard in range(SHARDS)]
            if any(corrected):
                _log.warning("the store has other positions of spool %s than before: reading on from there", spool_id)

    def applied(self, spool_id: str) -> int:
        """Up to where the store has everything of a spool."""
        cursor = self._cursors.get(spool_id)
        return min(cursor.applied) if cursor is not None else 0

    def backlog(self) -> int:
        """Spooled bytes that the store does not have."""
        return self._spools.backlog({spool_id: min(cursor.applied) for spool_id, cursor in self._cursors.items()})

    def uncounted(self) -> int:
        """Spooled bytes that /metrics has not counted."""
        return self._spools.backlog({spool_id: min(cursor.counted) for spool_id, cursor in self._cursors.items()})

    def take_gone(self) -> list[str]:
        """Spools that have been read to their end and deleted, each told once."""
        gone, self._gone = self._gone, []
        return gone

    def _scan(self) -> list[str]:
        ids = self._spools.scan()
        for spool_id in ids:
            self._spools.check_live(spool_id)
        for spool_id in [spool_id for spool_id in self._cursors if spool_id not in self._spools.ids]:
            del self._cursors[spool_id]
            self._gone.append(spool_id)
            for observer in self._observers:
                observer.retire(spool_id)
        return ids

    def _count(self, chunk: Chunk, cursor: Cursor) -> None:
        newest = max(cursor.counted)
        for after, shards in groups(cursor.counted, chunk.end):
            stretch = self._stretch(chunk, after)
            self._counts.apply({shard: stretch.counts[shard] for shard in shards if shard in stretch.counts})
            if after == newest:
                self._counts.observe(stretch.sums)
                for observer in self._observers:
                    observer.observe(chunk.spool_id, stretch.events, stretch.sums)
            for shard in shards:
                cursor.counted[shard] = chunk.end

    def _entries(self, spool_id: str) -> list[Entry]:
        cursor = self._cursors.setdefault(spool_id, Cursor())
        start = min(cursor.applied)
        chunk = self._chunks.get(spool_id)
        if chunk is None or chunk.start != max(start, self._spools.base(spool_id)):
            chunk = self._spools.read(spool_id, start, READ_BYTES)
        entries = []
        for after, shards in groups(cursor.applied, chunk.end):
            works = self._stretch(chunk, after).works()
            for shard in shards:
                if shard in works:
                    entries.append(Entry(shard, spool_id, cursor.stored[shard], chunk.end, works[shard]))
                else:
                    cursor.applied[shard] = chunk.end
        return entries

    def _stretch(self, chunk: Chunk, after: int) -> _Stretch:
        place = (chunk.spool_id, chunk.start, chunk.end, max(after, chunk.start))
        stretch = self._stretches.get(place)
        if stretch is None:
            events = self._redact(decode_all(chunk.after(after)))
            stretch = self._stretches[place] = _Stretch(events, self._counter, self._planner)
        return stretch
