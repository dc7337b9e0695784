"""The fold: reads what the workers write, counts it for /metrics, and brings it into the store exactly once.

Three readers walk over each spool. One counts, and never waits for the store; two apply, shard by shard, what must
show at once and the details, and follow what the store says of itself. While all is well a stretch is decoded and
summed once for all three.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from sidecar.control.folding.catch_up import added_up
from sidecar.control.folding.cursor import Cursor, Place, groups
from sidecar.control.folding.kept import Kept, Stretch
from sidecar.control.folding.ledger import DETAILS, LANES, NOW, Entry, Ledger
from sidecar.control.folding.observer import EventObserver
from sidecar.control.folding.patience import Patience, ShardsAway
from sidecar.control.folding.planned import Planned
from sidecar.control.folding.read_failures import COUNTING, ReadFailures
from sidecar.control.folding.spools import Chunk, Spools
from sidecar.control.folding.work import Planner
from sidecar.control.metrics.counts import Counter
from sidecar.control.metrics.state import Counts
from sidecar.control.totals.sums import Sums
from sidecar.store.client import StoreUnavailable
from sidecar.store.names import SHARDS

ALL = list(range(SHARDS))

_log = logging.getLogger(__name__)


class Fold:
    """One control process's fold.

    `guard` raises StoreUnavailable while the store must not be written, and `claim` while what is here may not be applied.
    """

    def __init__(
        self,
        spools: Spools,
        ledger: Ledger,
        *,
        counter: Counter,
        counts: Counts,
        planner: Planner,
        guard: Callable[[], Awaitable[None]],
        claim: Callable[[], Awaitable[None]],
        observers: Sequence[EventObserver] = (),
        redact: Callable[[list[bytes]], list[bytes]] = lambda records: records,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spools = spools
        self._ledger = ledger
        self._counter = counter
        self._counts = counts
        self._planner = planner
        self._guard = guard
        self._claim = claim
        self._observers = observers
        self._redact = redact
        self._cursors: dict[str, Cursor] = {}
        self._chunks: dict[str, Chunk] = {}
        self._stretches: dict[tuple[str, int, int, int], Planned] = {}
        self._kept = Kept()
        self._writing = asyncio.Lock()
        # By shard: one whose server is away is left alone for a moment, not the others.
        self._patience = {lane: Patience(clock) for lane in LANES}
        self.failures = ReadFailures(clock)
        """What cannot be read. It is left alone, and read from where it was once it can be."""
        self.has_more = False
        """Whether the last count ended before the end of what was there when it began."""
        self.restored = asyncio.Event()
        """Set when the counts of earlier runs are back; until then there is nothing to export."""

    async def restore(self) -> None:
        """Take up the counts of earlier runs where they stopped; raises StoreUnavailable."""
        await self._guard()
        positions, totals = await self._ledger.load()
        for stored in totals:
            self._counts.restore(stored)
        for spool_id in {name.partition(":")[0] for shard in positions for name in shard}:
            cursor = self._cursors[spool_id] = Cursor()
            for lane in LANES:
                offsets = [shard.get(spool_id + lane, 0) for shard in positions]
                cursor.lanes[lane] = Place(offsets, offsets[:])
            cursor.counted = cursor.lane(NOW).stored[:]
        for key_id in self._counts.keys:
            # Keys that were counted under their own names keep their places.
            self._counter.label(key_id)
        self._counter.recall(labels[0] for labels in self._counts.labels("models"))
        self.restored.set()

    def count(self) -> int:
        """Count what is new in every spool that can be read; returns the number of events. Never waits.

        Raises OSError when the directory cannot be read.
        """
        self._chunks.clear()
        self._stretches.clear()
        events = 0
        self.has_more = False
        for spool_id in self._scan():
            cursor = self._cursors.setdefault(spool_id, Cursor())
            if self.failures.rests(spool_id, COUNTING):
                continue
            start = min(cursor.counted)
            try:
                self._spools.check_live(spool_id)
                there = self._spools.end(spool_id)
                chunk = self._chunks[spool_id] = self._spools.read(spool_id, start)
            except OSError as error:
                self.failures.failed(spool_id, COUNTING, error)
                continue
            self.failures.succeeded(spool_id, COUNTING)
            if chunk.end > start:
                self._count(chunk, cursor)
                events += len(chunk.records)
                self.has_more = self.has_more or chunk.end < there
        return events

    def hurry(self) -> None:
        """Ask shards that did not answer, and read what could not be read, again at once."""
        self.failures.hurry()
        for patience in self._patience.values():
            patience.hurry()

    async def apply(self, lane: str) -> None:
        """Bring one stretch of each spool into the store. Raises StoreUnavailable, ShardsAway when only some shards lack theirs."""
        async with self._writing:
            await self._apply(lane)

    async def _apply(self, lane: str) -> None:
        shards = self._patience[lane].awake(ALL)
        entries = []
        for spool_id in list(self._spools.ids):
            if shards and not self.failures.rests(spool_id, lane):
                entries += await self._due(spool_id, lane, shards)
        failures = await self._bring(entries, lane) if entries else {}
        self._patience[lane].heed(shards, failures)
        reason = self._patience[lane].reason
        if reason is not None:
            raise ShardsAway(str(reason))

    async def _bring(self, entries: list[Entry], lane: str) -> dict[int, StoreUnavailable]:
        """Why shards did not take what was for them."""
        await self._guard()
        await self._claim()
        failures: dict[int, StoreUnavailable] = {}
        for entry, reply in zip(entries, await self._ledger.apply(entries), strict=True):
            if isinstance(reply, StoreUnavailable):
                failures[entry.shard] = reply
                continue
            place = self._cursors[entry.spool_id].lane(lane)
            if reply == entry.end:
                place.advance(entry.shard, reply)
            elif place.correct(entry.shard, reply):
                _log.info("shard %d of the store is at %d of spool %s: reading on from there", entry.shard, reply, entry.spool_id)
        return failures

    async def verify(self) -> None:
        """Compare with the store's own positions: one that fell back is brought up to date again.

        Raises StoreUnavailable when a shard does not answer, with all done for the others.
        """
        # The positions of a foreign store say nothing.
        await self._guard()
        async with self._writing:
            positions = await self._ledger.each_position()
        failure: StoreUnavailable | None = None
        known: list[tuple[int, dict[str, int]]] = []
        for shard, found in enumerate(positions):
            if isinstance(found, StoreUnavailable):
                failure = found
            else:
                known.append((shard, found))
        for spool_id, cursor in self._cursors.items():
            places = [(shard, lane, found.get(spool_id + lane, 0)) for shard, found in known for lane in LANES]
            corrected = [cursor.lane(lane).correct(shard, position) for shard, lane, position in places]
            if any(corrected):
                _log.warning("the store has other positions of spool %s than before: reading on from there", spool_id)
        # A key that nobody uses for a month must not lose its counts for it.
        await self._ledger.renew()
        if failure is not None:
            raise failure

    def trails(self, lane: str) -> bool:
        """Whether a lane has not brought everything that is counted, and that it can read, into the store."""
        behind = [spool_id for spool_id, cursor in self._cursors.items() if min(cursor.lane(lane).applied) < min(cursor.counted)]
        return any(not self.failures.has(spool_id, lane) for spool_id in behind)

    def rows(self) -> int:
        """How many rows the stretches of this turn have: what it costs to bring them into the store."""
        return sum(stretch.sums.size for stretch in self._stretches.values())

    def applied(self, spool_id: str) -> int:
        """Up to where the store has everything of a spool."""
        cursor = self._cursors.get(spool_id)
        return cursor.applied() if cursor is not None else 0

    def lag(self, lane: str) -> int:
        """Spooled bytes that the store does not have in a lane."""
        return self._spools.backlog({spool_id: min(cursor.lane(lane).applied) for spool_id, cursor in self._cursors.items()})

    def backlog(self, until: Mapping[str, int] | None = None) -> int:
        """Spooled bytes that the store does not have; `until` is as for `Spools.backlog`."""
        return self._spools.backlog({spool_id: cursor.applied() for spool_id, cursor in self._cursors.items()}, until)

    def uncounted(self, until: Mapping[str, int] | None = None) -> int:
        """Spooled bytes that /metrics has not counted."""
        return self._spools.backlog({spool_id: min(cursor.counted) for spool_id, cursor in self._cursors.items()}, until)

    def _scan(self) -> list[str]:
        before = self._spools.ids
        ids = self._spools.scan()
        for spool_id in [spool_id for spool_id in self._cursors if spool_id not in self._spools.ids]:
            del self._cursors[spool_id]
            self.failures.retire(spool_id)
            if spool_id not in before:
                # Another replica's: the store has the positions of all, and without its own that one would count all again.
                continue
            self._kept.retire(spool_id)
            for observer in self._observers:
                observer.retire(spool_id)
        return ids

    def _count(self, chunk: Chunk, cursor: Cursor) -> None:
        newest = max(cursor.counted)
        for after, shards in groups(cursor.counted, chunk.end, ALL):
            stretch = self._stretch(chunk, after)
            if after <= chunk.start:
                self._kept.put(chunk.spool_id, Stretch(chunk.start, chunk.end, stretch.sums))
            self._counts.apply({shard: stretch.counts[shard] for shard in shards if shard in stretch.counts})
            if after == newest:
                self._counts.observe(stretch.sums)
                for observer in self._observers:
                    observer.observe(chunk.spool_id, stretch.records, stretch.sums)
            for shard in shards:
                cursor.counted[shard] = chunk.end

    async def _due(self, spool_id: str, lane: str, shards: list[int]) -> list[Entry]:
        """The next stretch of a spool for each of these shards."""
        cursor = self._cursors.setdefault(spool_id, Cursor())
        place = cursor.lane(lane)
        entries: list[Entry] = []
        while shards:
            try:
                chunk, stretch = await self._next(spool_id, place, lane, shards)
            except OSError as error:
                self.failures.failed(spool_id, lane, error)
                return entries
            # A shard that was away may have much to catch up with, and those that were not go on meanwhile.
            ahead = [shard for shard in shards if chunk.end <= place.applied[shard] < min(cursor.counted)]
            entries += self._entries(chunk, stretch, place, lane, shards)
            shards = ahead if chunk.end > chunk.start else []
        self.failures.succeeded(spool_id, lane)
        return entries

    async def _next(self, spool_id: str, place: Place, lane: str, shards: list[int]) -> tuple[Chunk, Planned | None]:
        """What a lane has to do next: for the details, when they have fallen behind, as much as possible at once."""
        applied = [place.applied[shard] for shard in shards]
        start = max(min(applied), self._spools.base(spool_id))
        chunk = self._chunks.get(spool_id)
        if chunk is not None and chunk.start == start:
            return chunk, None
        alike = lane == DETAILS and max(applied) <= start
        if alike and (kept := self._kept.following(spool_id, start)) is not None:
            return Chunk(spool_id, start, kept.end, [], []), Planned([], kept.sums, {}, self._planner)
        # Not beyond what is counted: from there it goes on with the same stretches, else it would add up its own for good.
        counted = min(self._cursors[spool_id].counted)
        chunk = self._spools.read(spool_id, start).until(counted)
        if not alike:
            return chunk, None
        chunk, sums = await added_up(self._spools, chunk, counted, self._redact)
        return chunk, Planned([], sums, {}, self._planner)

    def _entries(self, chunk: Chunk, stretch: Planned | None, place: Place, lane: str, shards: list[int]) -> list[Entry]:
        entries = []
        for after, behind in groups(place.applied, chunk.end, shards):
            works = (stretch or self._stretch(chunk, after)).works(lane)
            for shard in behind:
                if shard in works:
                    entries.append(Entry(lane, shard, chunk.spool_id, place.stored[shard], chunk.end, works[shard]))
                else:
                    place.applied[shard] = chunk.end
        return entries

    def _stretch(self, chunk: Chunk, after: int) -> Planned:
        place = (chunk.spool_id, chunk.start, chunk.end, max(after, chunk.start))
        stretch = self._stretches.get(place)
        if stretch is None:
            records = chunk.after(after)
            sums = Sums()
            sums.add(records, self._redact(records))
            sums.close()
            stretch = self._stretches[place] = Planned(records, sums, self._counter.delta(sums), self._planner)
        return stretch
