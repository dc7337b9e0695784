"""The call log: finds calls, newest first. What keeps the log within its bounds is `call_bounds.py`.

Calls lie in blocks, by shard, those without a key in a place of their own. A block's header says when
its first and last call ended and, by one bit for each key, which keys it may hold. No block spans more
than an hour.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from sidecar.control.queries import CallPage
from sidecar.control.usage.blocks import key_mask, unpack
from sidecar.control.usage.call_cursor import LAST_ID, read_cursor, write_cursor
from sidecar.events.record import Reconciled, Request, sum_of
from sidecar.events.wire import decode_all
from sidecar.store import names
from sidecar.store.client import Store

LONGEST_BLOCK = 3600.0
FIRST_HEADERS, HEADERS = 32, 256
"""Block headers that are read at a time: few at first, for most pages are full soon; then twice as many each time."""
BLOCKS, MOST_BLOCKS = 16, 128
"""Blocks that are read at a time: few at first, then twice as many each time, for a filter that few calls pass reads the whole log."""
CALLS = 4000
"""Calls in these blocks, beyond which no further one is read with them: after a backlog one block holds thousands."""
MOST_READ = 30_000
"""Calls that one page may look at; a page may be short, even empty, and still have a next one."""

PLACES = range(names.KEYLESS + 1)
"""The shards, and the place of calls without a key."""

_Entry = tuple[float, str, bool, Any]
"""Order, whether it is the ledger's, and the Request or Reconciled."""


@dataclass(frozen=True, slots=True, order=True)
class Header:
    """One block; ordered by its last call."""

    last: float
    shard: int
    number: int
    calls: int
    first: float
    mask: int
    member: bytes

    @classmethod
    def parse(cls, shard: int, member: bytes, score: float) -> Header:
        """Read an index entry."""
        number, calls, first, mask = member.split(b":")[:4]
        return cls(score, shard, int(number), int(calls), float(first), int(mask), member)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter; `before` is (time, request id) of the last call that was given out."""

    key_id: str | None = None
    outcome: str | None = None
    start: float | None = None
    end: float | None = None
    before: tuple[float, str] | None = None

    def takes(self, event: Request) -> bool:
        """Whether a call passes."""
        return (
            (self.key_id is None or event.key_id == self.key_id)
            and (self.outcome is None or event.outcome == self.outcome)
            and (self.start is None or event.time >= self.start)
            and (self.end is None or event.time < self.end)
            and (self.before is None or (event.time, event.request_id) < self.before)
        )

    def may_hold(self, header: Header) -> bool:
        """Whether a block may have such a call."""
        if self.key_id is not None and not header.mask & key_mask(self.key_id):
            return False
        if self.end is not None and header.first >= self.end:
            return False
        return self.before is None or header.first <= self.before[0]


@dataclass(frozen=True, slots=True)
class _Step:
    """Some calls in their order; `until`: what is to come is no newer, None at the end; `read`: calls that were looked at."""

    calls: list[Request]
    until: float | None
    read: int


class Calls:
    """Answers queries, newest first."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def calls(
        self, *, key_id: str | None, outcome: str | None, start: float | None, end: float | None, limit: int, cursor: str
    ) -> CallPage:
        """One page; raises ValueError for a cursor that is not its own, StoreUnavailable."""
        wanted = Wanted(key_id, outcome, start, end, read_cursor(cursor) if cursor else None)
        found: list[Request] = []
        read = 0
        async for step in self._steps(wanted):
            for call in step.calls:
                if len(found) == limit:
                    return CallPage(found, write_cursor(found[-1].time, found[-1].request_id))
                found.append(call)
            read += step.read
            # Blocks overlap: those that the page before has looked at come first, and must not be all of this one.
            before = math.inf if wanted.before is None else wanted.before[0]
            if step.until is not None and step.until < before and read >= MOST_READ:
                return CallPage(found, write_cursor(step.until, LAST_ID))
        return CallPage(found)

    async def find(self, wanted: Wanted) -> AsyncIterator[Request]:
        """Every call that passes, newest first."""
        async for step in self._steps(wanted):
            for call in step.calls:
                yield call

    async def _steps(self, wanted: Wanted) -> AsyncIterator[_Step]:
        waiting: list[_Entry] = []
        async for headers in self._batches(wanted):
            for entry in await self._read(headers, wanted):
                heapq.heappush(waiting, entry)
            # Blocks to come end no later than the last one of this batch: what is newer than that is in order now.
            until = headers[-1].last
            yield _Step(_take(waiting, until), until, sum(header.calls for header in headers))
            await asyncio.sleep(0)
        yield _Step(_take(waiting, None), None, 0)

    async def complete_since(self, key_id: str | None) -> float:
        """From when on the log has every call of a key, or of all keys, that the store has been told of."""
        shards = range(names.SHARDS) if key_id is None else _places(key_id)
        trimmed = await self._store.pipeline([("HGET", names.call_blocks(shard), "trimmed") for shard in shards])
        return max(float(time or 0) for time in trimmed)

    async def _batches(self, wanted: Wanted) -> AsyncIterator[list[Header]]:
        """Headers of blocks that may matter, by last call, latest first, over all places."""
        sources = {shard: _Source(self._store, shard, wanted) for shard in _places(wanted.key_id)}
        batch: list[Header] = []
        size, calls = BLOCKS, 0
        while sources:
            hungry = [source for source in sources.values() if not source.headers]
            await asyncio.gather(*(source.fill() for source in hungry))
            for source in hungry:
                if not source.headers:
                    del sources[source.shard]
            if not sources:
                break
            newest = max(sources.values(), key=lambda source: source.headers[-1])
            header = newest.headers.pop()
            if wanted.may_hold(header):
                batch.append(header)
                calls += header.calls
            if len(batch) >= size or calls >= CALLS:
                yield batch
                batch, size, calls = [], min(2 * size, MOST_BLOCKS), 0
        if batch:
            yield batch

    async def _read(self, headers: list[Header], wanted: Wanted) -> list[_Entry]:
        blocks = await self._store.pipeline([("HGET", names.call_blocks(header.shard), header.number) for header in headers])
        # A record has its key's id and its outcome as they are: it need not be read when it lacks them.
        key_id, outcome = (wanted.key_id or "").encode(), (wanted.outcome or "").encode()
        found: list[_Entry] = []
        for block in blocks:
            if block is None:
                continue
            records = [record for record in unpack(block) if key_id in record and outcome in record]
            entries = [(event.request if isinstance(event, Reconciled) else event, event) for event in decode_all(records)]
            found += [
                (-call.time, _descending(call.request_id), isinstance(event, Reconciled), event)
                for call, event in entries
                if isinstance(call, Request) and wanted.takes(call)
            ]
            # One may hold thousands of calls, and others want to be served too.
            await asyncio.sleep(0)
        return found


class _Source:
    """One place's headers; `headers` ends with the latest."""

    def __init__(self, store: Store, shard: int, wanted: Wanted) -> None:
        self.shard = shard
        self.headers: list[Header] = []
        self._store = store
        self._low = "-inf" if wanted.start is None else repr(wanted.start)
        latest = min((time for time in (wanted.end, wanted.before[0] if wanted.before else None) if time is not None), default=None)
        self._high = "+inf" if latest is None else repr(latest + LONGEST_BLOCK)
        self._seen: set[bytes] = set()
        self._count = FIRST_HEADERS
        self._over = False

    async def fill(self) -> None:
        """Read on, unless there is nothing more."""
        while not self.headers and not self._over:
            command = ("ZRANGE", names.calls(self.shard), self._high, self._low, "BYSCORE", "REV", "LIMIT", 0, self._count, "WITHSCORES")
            found = [(member, float(score)) for member, score in await self._store.call(*command)]
            # Blocks that end at the same time as the last one come again with the next page.
            fresh = [Header.parse(self.shard, member, score) for member, score in found if member not in self._seen]
            self._over = len(found) < self._count
            # When nothing but blocks of one moment came again, more of that moment may stand behind them.
            self._count = max(self._count, min(2 * self._count, HEADERS)) if fresh else 2 * self._count
            self._seen = {member for member, _ in found}
            if found:
                self._high = repr(found[-1][1])
            self.headers = sorted(fresh)


def _take(waiting: list[_Entry], until: float | None) -> list[Request]:
    """Take all calls that are newer than `until`, in order."""
    found = []
    while waiting and (until is None or -waiting[0][0] > until):
        if (call := _pop(waiting)) is not None:
            found.append(call)
    return found


def _pop(waiting: list[_Entry]) -> Request | None:
    """Take the next call, with what the hub's ledger added to it; that stands at the call's own time, right behind it."""
    *place, _, event = heapq.heappop(waiting)
    call = event if isinstance(event, Request) else None
    while waiting and waiting[0][2] and [*waiting[0][:2]] == place:
        found = heapq.heappop(waiting)[3]
        if call is not None:
            call = msgspec.structs.replace(call, tokens=sum_of((call.tokens, found.tokens)), usage_source="ledger")
    return call


def _places(key_id: str | None) -> Sequence[int]:
    return PLACES if key_id is None else [names.shard_of(key_id)]


def _descending(text: str) -> str:
    """A text that sorts the other way round; request ids are ASCII."""
    return "".join(chr(0x10FFFF - ord(character)) for character in text)
