"""Writes what events add up to into the store, exactly once.

Each shard knows up to where it has applied each spool, and position and sums move in one script. A
reply that was lost, another control process, a store that fell back by a second: whatever happened,
the position in the store says what is still to be done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from sidecar.control.folding.work import Work
from sidecar.control.metrics.counts import KEY_FIELD
from sidecar.control.totals.nested import packed
from sidecar.control.usage.blocks import pack
from sidecar.store import names
from sidecar.store.client import Argument, Store, StoreUnavailable
from sidecar.store.script import Script, load

TOTALS_KEPT = 30 * 86_400
"""Seconds that the totals of an instance outlive it."""
RENEW_EVERY = 3600.0
"""Seconds until the totals of shards without traffic are kept for longer, too."""

_READ = load("ledger_read")
_SCRIPT = Script("ledger", load("settle_quota").text + load("ledger").text)
_encode = msgspec.msgpack.Encoder().encode

NOW, DETAILS = "", ":details"
"""The lanes. Each has positions of its own, so that what may wait can be brought into the store less often, in larger stretches."""
LANES = (NOW, DETAILS)

Positions = list[dict[str, int]]
"""By shard: spool id and lane → offset."""

FIELDS_AT_ONCE = 2000
"""What one trip changes at most, but for a single shard's part: the store serves nobody else meanwhile, and requests wait for it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One spool's stretch for one shard and lane: from `expected`, where the store must be, to `end`."""

    lane: str
    shard: int
    spool_id: str
    expected: int
    end: int
    work: Work


class Ledger:
    """The store's side of the fold, for one instance; `clock` counts seconds."""

    def __init__(self, store: Store, instance: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._instance = instance
        self._clock = clock
        self._renew_at = float("-inf")

    async def positions(self) -> Positions:
        """Where every shard is; raises StoreUnavailable when one of them does not answer."""
        positions: Positions = []
        for found in await self.each_position():
            if isinstance(found, StoreUnavailable):
                raise found
            positions.append(found)
        return positions

    async def each_position(self) -> list[dict[str, int] | StoreUnavailable]:
        """Where each shard is, or why that is unknown; raises StoreUnavailable when none answers."""
        replies = await self._store.pipeline_each([("HGETALL", names.positions(shard)) for shard in range(names.SHARDS)])
        return [reply if isinstance(reply, StoreUnavailable) else _offsets(reply.items()) for reply in replies]

    async def load(self) -> tuple[Positions, list[dict[bytes, bytes]]]:
        """Positions, and by shard the totals that belong to exactly these positions; raises StoreUnavailable."""
        replies = await self._store.run_many(
            [(_READ, [names.positions(shard), names.totals(shard, self._instance)], []) for shard in range(names.SHARDS)]
        )
        failed = next((reply for reply in replies if isinstance(reply, StoreUnavailable)), None)
        if failed is not None:
            raise failed
        return [_offsets(_flat(one)) for one, _ in replies], [dict(_flat(one)) for _, one in replies]

    async def apply(self, entries: Sequence[Entry]) -> list[int | StoreUnavailable]:
        """Apply `entries`; for each the position that the store is at now, or why that is unknown."""
        positions: list[int | StoreUnavailable] = []
        for trip in _trips(entries):
            try:
                replies = await self._store.run_many([self._call(entry) for entry in trip])
            except StoreUnavailable as error:
                # The next trip may go to other servers, which answer.
                replies = [error] * len(trip)
            positions += [reply if isinstance(reply, StoreUnavailable) else int(reply[1]) for reply in replies]
        return positions

    async def renew(self) -> None:
        """Keep the totals of every shard while this instance lives; sends something once an hour, or until all have answered.

        Raises StoreUnavailable when a shard did not; the others have done it.
        """
        now = self._clock()
        if now < self._renew_at:
            return
        await self._store.pipeline([("EXPIRE", names.totals(shard, self._instance), TOTALS_KEPT) for shard in range(names.SHARDS)])
        self._renew_at = now + RENEW_EVERY

    async def pass_over(self, ends: Mapping[str, int]) -> None:
        """Put spools at these ends wherever the store has no position of them; raises StoreUnavailable."""
        fields = [(spool_id + lane, end) for spool_id, end in ends.items() for lane in LANES]
        await self._store.pipeline([("HSETNX", names.positions(shard), *each) for shard in range(names.SHARDS) for each in fields])

    async def forget(self, spool_ids: Sequence[str]) -> None:
        """Drop the positions of spools whose files are gone; raises StoreUnavailable."""
        fields = [spool_id + lane for spool_id in spool_ids for lane in LANES]
        await self._store.pipeline([("HDEL", names.positions(shard), *fields) for shard in range(names.SHARDS)])

    async def forget_keys(self, key_ids: Sequence[str]) -> None:
        """Drop the totals of keys that are no longer exported; raises StoreUnavailable."""
        await self._store.pipeline(
            [("HDEL", names.totals(names.shard_of(key_id), self._instance), KEY_FIELD + key_id) for key_id in key_ids]
        )

    def _call(self, entry: Entry) -> tuple[Script, list[str], list[Argument]]:
        work = entry.work
        shard = entry.shard
        keys = [names.positions(shard), names.totals(shard, self._instance), names.calls(shard), names.call_blocks(shard), *work.keys]
        totals = [each for name, sums in work.totals.items() for each in (name, packed(sums))]
        args: list[Argument] = [entry.spool_id + entry.lane, entry.expected, entry.end, TOTALS_KEPT]
        args += [len(totals), _encode(work.plan), *totals, *work.arguments]
        for block in work.blocks:
            args += [len(block.records), repr(block.first), repr(block.last), block.mask, pack(block.records)]
        return _SCRIPT, keys, args


def _trips(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    trip: list[Entry] = []
    fields = 0
    for entry in entries:
        trip.append(entry)
        fields += len(entry.work.arguments) // 2 + 1
        if fields >= FIELDS_AT_ONCE:
            yield trip
            trip, fields = [], 0
    if trip:
        yield trip


def _offsets(fields: Iterable[tuple[bytes, bytes]]) -> dict[str, int]:
    return {spool_id.decode(): int(offset) for spool_id, offset in fields}


def _flat(reply: list[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(reply[::2], reply[1::2], strict=True))
