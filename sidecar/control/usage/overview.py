"""What the console's screens show of use: many keys at once, or one span from every side, in few trips."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest

from sidecar.control.queries import UsageGroup, Use
from sidecar.control.totals.nested import add_list
from sidecar.control.totals.series import DAY, DIMENSIONS, HOUR, Values, summed
from sidecar.control.turns import Turns, replies
from sidecar.control.usage.groups import added_up, in_one
from sidecar.control.usage.readings import hours_of, in_total, readings, requests, split
from sidecar.control.usage.reports import WHOLE_AT_A_TIME, Reports
from sidecar.control.usage.span import numbers
from sidecar.control.usage.tally import Tally, use_of
from sidecar.store import names
from sidecar.store.client import Store
from sidecar.store.script import load

HOURS = 24
"""Of each key, that are shown beside it."""
CANDIDATES = 30
"""Keys of each shard and day that may be among the busiest of a span."""
DAYS_AT_A_TIME, SCRIPTS_AT_A_TIME = 31, 4
"""Days that one script adds up, and scripts of one trip: each may take the store a millisecond."""
AT_A_TIME = 100
"""Reads of one trip."""
SPARE = 5
"""Keys beyond those asked for whose use is read too: one that was busier in the parts of days that count may be among them."""
SHOWN = ("model", "outcome", "route", "reason")
"""The groupings of a breakdown."""


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

    def __init__(self, store: Store, reports: Reports) -> None:
        self._store = store
        self._reports = reports
        self._script = load("busiest")

    async def last_hours(self, key_ids: Sequence[str], now: float) -> dict[str, list[int]]:
        """Requests of each key in each of `HOURS`, oldest first; the last one is the hour that runs at `now` (Unix seconds)."""
        last = int(now // HOUR)
        days: dict[int, list[int]] = {}
        for hour in range(last - HOURS + 1, last + 1):
            days.setdefault(hour * HOUR // DAY, []).append(hour % (DAY // HOUR))
        reads = [(key_id, hours_of(key_id, day, in_day)) for key_id in key_ids for day, in_day in days.items()]
        found: dict[str, list[int]] = {key_id: [] for key_id in key_ids}
        async for (key_id, _), reply in replies(self._store, reads, lambda each: each[1], AT_A_TIME):
            found[key_id] += map(requests, reply)
        return found

    async def breakdown(self, key_id: str | None, start: float, end: float, step: int) -> Breakdown:
        """The use of one key, or of all together, over [start, end) in steps of `step` seconds."""
        plan = await self._reports.plan(key_id, start, end, fine=step < HOUR, coarse=key_id is None and step % DAY == 0)
        found: defaultdict[tuple[str, int], list[Values]] = defaultdict(list)
        turns = Turns()
        async for reading, reply in replies(self._store, readings(key_id, plan), lambda each: each.command, WHOLE_AT_A_TIME):
            cells = list(reading.cells(reply))
            for time, parts, values in cells:
                found[parts, time // step * step].append(values)
            await turns.after(len(cells))
        sums = {kind: Tally(step) for kind in ("", *DIMENSIONS.values())}
        for (parts, at), lists in found.items():
            values = summed(lists)
            for part in split(parts):
                dimension, _, group = part.partition("|")
                # A replica of a newer version may group by more than this one knows.
                if dimension in sums:
                    sums[dimension].add(at, values, group)
            await turns.after(len(lists))
        totals, series = await added_up(sums[""].take(""))
        groups = {name: [group async for group in in_one(sums[DIMENSIONS[name]]).each] for name in SHOWN}
        return Breakdown(totals, dict(series), groups)

    async def totals(self, key_id: str | None, start: float, end: float) -> Use:
        """The sums of a span, without anything else."""
        return (await self._totals([key_id], start, end))[0]

    async def top_keys(self, start: float, end: float, count: int) -> list[tuple[str, Use]]:
        """The keys with most requests in [start, end), and their use.

        They are sought among those that were busiest in their shard on one of the days: the use that is
        told is exact, but a key that is never among the first of any day is not found.
        """
        days = numbers((self._reports.kept(start, end),), DAY)
        candidates = await self._busiest(days, count + SPARE)
        uses = await self._totals(candidates, start, end)
        ranked = sorted(zip(candidates, uses, strict=True), key=lambda pair: (-pair[1].requests, pair[0]))
        return [(key_id, use) for key_id, use in ranked[:count] if use.requests]

    async def _busiest(self, days: Sequence[int], count: int) -> list[str]:
        """The keys with most requests on these days together, as far as they are among the first of a day."""
        calls = [
            (self._script, [names.active(shard, day) for day in days[first : first + DAYS_AT_A_TIME]], (CANDIDATES, CANDIDATES))
            for first in range(0, len(days), DAYS_AT_A_TIME)
            for shard in range(names.SHARDS)
        ]
        found: defaultdict[bytes, float] = defaultdict(float)
        for first in range(0, len(calls), SCRIPTS_AT_A_TIME):
            for reply in await self._store.run_many(calls[first : first + SCRIPTS_AT_A_TIME]):
                if isinstance(reply, Exception):
                    raise reply
                for member, requests_of in zip(reply[::2], reply[1::2], strict=True):
                    found[member] += float(requests_of)
        return [key_id.decode() for key_id in nlargest(count, found, key=found.__getitem__)]

    async def _totals(self, key_ids: Sequence[str | None], start: float, end: float) -> list[Use]:
        plan = await self._reports.plan(None, start, end, fine=False, coarse=not any(key_ids))
        wanted = ((place, reading) for place, key_id in enumerate(key_ids) for reading in readings(key_id, plan))
        totals: list[Values] = [[] for _ in key_ids]
        turns = Turns()
        async for (place, reading), reply in replies(self._store, wanted, lambda each: each[1].command, AT_A_TIME):
            cells = list(reading.cells(reply))
            for _, parts, values in cells:
                if in_total(parts):
                    add_list(totals[place], values)
            await turns.after(len(cells))
        return [use_of(total) for total in totals]
