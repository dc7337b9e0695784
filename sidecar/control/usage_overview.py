"""What the console's screens show of use: many keys at once, or one span from every side, in few trips."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Any

import msgspec

from sidecar.control.nested import add_list
from sidecar.control.queries import UsageGroup, Use
from sidecar.control.series import DAY, DIMENSIONS, HOUR, Values
from sidecar.control.usage import StoredHash, Usage, hashes
from sidecar.control.usage_span import inside, numbers
from sidecar.control.usage_tally import Tally, use_of
from sidecar.store import names
from sidecar.store.client import Store
from sidecar.store.link import Command

HOURS = 24
CANDIDATES = 50
"""Keys of each shard and day that may be among the busiest of a span."""
AT_A_TIME, WHOLE_AT_A_TIME = 100, 10
"""Reads of one trip; of whole days with all their groups fewer."""
SPARE = 5
"""Keys beyond those asked for whose use is read too: one that was busier in the parts of days that count may be among them."""
SHOWN = ("model", "outcome", "route", "reason")
"""The groupings of a breakdown."""

_decode = msgspec.msgpack.Decoder(list[float]).decode


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
        replies = await self._read(
            [("HMGET", names.series(names.shard_of(key_id), key_id, "h", day), *fields) for key_id, day, fields in reads]
        )
        found: dict[str, list[int]] = {key_id: [] for key_id in key_ids}
        for (key_id, _, _), values in zip(reads, replies, strict=True):
            found[key_id] += [int(_decode(value)[0]) if value is not None else 0 for value in values]
        return found

    async def breakdown(self, key_id: str | None, start: float, end: float, step: int) -> Breakdown:
        """The use of one key, or of all together, over [start, end) in steps of `step` seconds."""
        plan = await self._usage.plan(key_id, start, end, fine=step < HOUR, grouped=True)
        wanted = list(hashes(key_id, plan, grouped=True))
        replies = await self._read([("HGETALL", hash_.name) for hash_ in wanted], most=WHOLE_AT_A_TIME)
        sums: dict[bytes, dict[int, Values]] = {}
        for hash_, fields in zip(wanted, replies, strict=True):
            _add_up(sums, hash_, fields, step)
        totals, series = _tally(step, {"": sums.pop(b"", {})}).series("")
        groups = {name: _tally(step, _of_kind(sums, DIMENSIONS[name])).groups() for name in SHOWN}
        return Breakdown(totals, dict(series), groups)

    async def totals(self, key_id: str | None, start: float, end: float) -> Use:
        """The sums of a span, without anything else."""
        return (await self._totals([key_id], start, end))[0]

    async def top_keys(self, start: float, end: float, count: int) -> list[tuple[str, Use]]:
        """The keys with most requests in [start, end), and their use.

        They are sought among those that were busiest in their shard on one of the days: the use that is
        told is exact, but a key that is never among the first of any day is not found.
        """
        days = numbers(((start, end),), DAY)
        busiest = await self._read(
            [("ZRANGE", names.active(shard, day), 0, CANDIDATES - 1, "REV", "WITHSCORES") for day in days for shard in range(names.SHARDS)]
        )
        upper: defaultdict[bytes, float] = defaultdict(float)
        for found in busiest:
            for member, requests in found:
                upper[member] += requests
        candidates = [key_id.decode() for key_id in nlargest(count + SPARE, upper, key=upper.__getitem__)]
        uses = await self._totals(candidates, start, end)
        ranked = sorted(zip(candidates, uses, strict=True), key=lambda pair: (-pair[1].requests, pair[0]))
        return [(key_id, use) for key_id, use in ranked[:count] if use.requests]

    async def _totals(self, key_ids: Sequence[str | None], start: float, end: float) -> list[Use]:
        plan = await self._usage.plan(None, start, end, fine=False, grouped=False)
        wanted = [(place, hash_) for place, key_id in enumerate(key_ids) for hash_ in hashes(key_id, plan)]
        # Those of one hour or day are the same for every key.
        buckets = {(hash_.begins, hash_.size): _buckets(hash_) for place, hash_ in wanted if place == 0}
        # Of a day of hours only what is wanted, for its groups are many; an hour of minutes has none.
        replies = await self._read(
            [
                ("HMGET", hash_.name, *buckets[hash_.begins, hash_.size]) if hash_.size == HOUR else ("HGETALL", hash_.name)
                for _, hash_ in wanted
            ]
        )
        totals: list[Values] = [[] for _ in key_ids]
        for (place, hash_), reply in zip(wanted, replies, strict=True):
            times = buckets[hash_.begins, hash_.size]
            found = zip(times, reply, strict=True) if hash_.size == HOUR else reply.items()
            for bucket, packed in found:
                if packed is not None and bucket in times:
                    add_list(totals[place], _decode(packed))
        return [use_of(total) for total in totals]

    async def _read(self, commands: Sequence[Command], most: int = AT_A_TIME) -> list[Any]:
        """The replies, in several trips: requests wait for the store while it is at one, and each has a deadline of its own."""
        replies: list[Any] = []
        for first in range(0, len(commands), most):
            replies += await self._store.pipeline(commands[first : first + most])
            # Others want to be served too.
            await asyncio.sleep(0)
        return replies


def _buckets(hash_: StoredHash) -> dict[bytes, float]:
    """The wanted buckets of a hash, by the field of their sums, with their beginnings."""
    size = HOUR if hash_.size < HOUR else DAY
    times = [(number, float(hash_.begins + number * hash_.size)) for number in range(size // hash_.size)]
    return {b"%d" % number: time for number, time in times if inside(time, hash_.wanted)}


def _add_up(sums: dict[bytes, dict[int, Values]], hash_: StoredHash, fields: dict[bytes, bytes], step: int) -> None:
    """Add the wanted buckets of a hash, by group as it is stored (none: `b""`) and step."""
    steps = {bucket: int(time // step) * step for bucket, time in _buckets(hash_).items()}
    for field, packed in fields.items():
        bucket, _, group = field.partition(b"|")
        at = steps.get(bucket)
        if at is None or not (group or hash_.totals):
            continue
        points = sums.get(group)
        if points is None:
            points = sums[group] = {}
        values = points.get(at)
        if values is None:
            points[at] = _decode(packed)
        else:
            add_list(values, _decode(packed))


def _of_kind(sums: dict[bytes, dict[int, Values]], kind: str) -> dict[str, dict[int, Values]]:
    prefix = f"{kind}|".encode()
    return {group.removeprefix(prefix).decode(): points for group, points in sums.items() if group.startswith(prefix)}


def _tally(step: int, groups: dict[str, dict[int, Values]]) -> Tally:
    tally = Tally(step)
    for group, points in groups.items():
        for time, values in points.items():
            tally.add(time, values, group)
    return tally
