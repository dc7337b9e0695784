"""What the console's screens show of use: many keys at once, or one span from every side, in few trips."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from sidecar.control.queries import UsageGroup, Use
from sidecar.control.series import DAY, DIMENSIONS, HOUR
from sidecar.control.usage import StoredHash, Usage, hashes
from sidecar.control.usage_span import inside, numbers
from sidecar.control.usage_tally import Tally
from sidecar.store import names
from sidecar.store.client import Store

HOURS = 24
CANDIDATES = 50
"""Keys of each shard and day that may be among the busiest of a span."""
SHOWN = ("model", "outcome", "route", "reason")
"""The groupings of a breakdown."""

_decode = msgspec.msgpack.Decoder(list[float | int]).decode


@dataclass(frozen=True, slots=True)
class Breakdown:
    """One span from every side: the sums of each grouping come from the same buckets as the totals."""

    totals: Use
    series: dict[float, Use]
    """By the start of a step (Unix seconds); steps without use are absent."""
    groups: dict[str, list[UsageGroup]]
    """By grouping; the groups with most requests first."""


class Overview:
    """Everything raises StoreUnavailable. Spans begin and end with whole minutes: the call log is not read."""

    def __init__(self, store: Store, usage: Usage) -> None:
        self._store = store
        self._usage = usage

    async def last_hours(self, key_ids: Sequence[str], now: float, hours: int = HOURS) -> dict[str, list[int]]:
        """Requests of each key by hour, oldest first; the last hour is the one that runs at `now` (Unix seconds)."""
        last = int(now // HOUR)
        days: dict[int, list[int]] = {}
        for hour in range(last - hours + 1, last + 1):
            days.setdefault(hour * HOUR // DAY, []).append(hour % HOURS)
        reads = [(key_id, day, fields) for key_id in key_ids for day, fields in days.items()]
        replies = await self._store.pipeline(
            [("HMGET", names.series(names.shard_of(key_id), key_id, "h", day), *fields) for key_id, day, fields in reads]
        )
        found: dict[str, list[int]] = {key_id: [] for key_id in key_ids}
        for (key_id, _, _), values in zip(reads, replies, strict=True):
            found[key_id] += [int(_decode(value)[0]) if value is not None else 0 for value in values]
        return found

    async def breakdown(self, key_id: str | None, start: float, end: float, step: int) -> Breakdown:
        """The use of one key, or of all together, over [start, end) in steps of `step` seconds."""
        plan = await self._usage.plan(key_id, start, end, fine=step < HOUR, grouped=True)
        total = Tally(step)
        tallies = {DIMENSIONS[name]: (name, Tally(step)) for name in SHOWN}
        for hash_, fields in await self._read(list(hashes(key_id, plan, grouped=True))):
            for time, kind, value, sums in _cells(hash_, fields):
                if not kind:
                    total.add(time, sums)
                elif kind in tallies:
                    tallies[kind][1].add(time, sums, value)
        totals, series = total.series()
        return Breakdown(totals, dict(series), {name: tally.groups() for name, tally in tallies.values()})

    async def totals(self, key_id: str | None, start: float, end: float) -> Use:
        """The sums of a span, without anything else."""
        plan = await self._usage.plan(key_id, start, end, fine=False, grouped=False)
        total = Tally(DAY)
        wanted = list(hashes(key_id, plan))
        numbers = [str(number) for number in range(HOUR // 60)]
        replies = await self._store.pipeline([("HMGET", hash_.name, *numbers[: DAY // hash_.size]) for hash_ in wanted])
        for hash_, values in zip(wanted, replies, strict=True):
            for number, packed in enumerate(values):
                time = hash_.begins + number * hash_.size
                if packed is not None and inside(time, hash_.wanted):
                    total.add(time, _decode(packed))
        return total.series()[0]

    async def top_keys(self, start: float, end: float, count: int) -> list[tuple[str, Use]]:
        """The keys with most requests in [start, end), and their use.

        They are sought among those that were busiest in their shard on one of the days: the use that is
        told is exact, but a key that is never among the first of any day is not found.
        """
        days = numbers(((start, end),), DAY)
        busiest = await self._store.pipeline(
            [("ZRANGE", names.active(shard, day), 0, CANDIDATES - 1, "REV", "WITHSCORES") for day in days for shard in range(names.SHARDS)]
        )
        upper: dict[str, float] = {}
        for found in busiest:
            for member, requests in found:
                key_id = member.decode()
                upper[key_id] = upper.get(key_id, 0.0) + float(requests)
        candidates = sorted(upper, key=upper.__getitem__, reverse=True)[: count * 3]
        uses = await asyncio.gather(*(self.totals(key_id, start, end) for key_id in candidates))
        ranked = sorted(zip(candidates, uses, strict=True), key=lambda pair: (-pair[1].requests, pair[0]))
        return [(key_id, use) for key_id, use in ranked[:count] if use.requests]

    async def _read(self, wanted: list[StoredHash]) -> list[tuple[StoredHash, dict[bytes, bytes]]]:
        replies = await self._store.pipeline([("HGETALL", hash_.name) for hash_ in wanted])
        return list(zip(wanted, replies, strict=True))


def _cells(hash_: StoredHash, fields: dict[bytes, bytes]) -> Iterator[tuple[float, str, str, list[float | int]]]:
    """(start, kind of group, group, sums) of every wanted bucket."""
    for field, packed in fields.items():
        bucket, _, group = field.partition(b"|")
        time = hash_.begins + int(bucket) * hash_.size
        if not inside(time, hash_.wanted):
            continue
        kind, _, value = group.decode().partition("|")
        if kind or hash_.totals:
            yield time, kind, value, _decode(packed)
