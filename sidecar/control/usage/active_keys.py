"""Finds out which keys were used in a span, on which days, and how often."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sidecar.control.totals.series import ALL, DAY, SERIES
from sidecar.control.turns import Turns, replies
from sidecar.control.usage.readings import in_total, readings
from sidecar.control.usage.span import Cut, Range, details_until, numbers
from sidecar.store import names
from sidecar.store.client import Store

FEW = 200
"""So many keys are looked for everywhere in a span, used there or not."""
LISTS = 4 * names.SHARDS
"""Lists of one trip: one may have thousands of keys."""


@dataclass(frozen=True, slots=True)
class Days:
    """Days by their numbers since 1970, a bit each from `first` on: thousands of keys have hundreds of them."""

    first: int
    bits: int

    def __contains__(self, day: object) -> bool:
        return isinstance(day, int) and day >= self.first and bool(self.bits >> (day - self.first) & 1)

    def __len__(self) -> int:
        return self.bits.bit_count()


class ActiveKeys:
    """Answers from the store; `clock` gives Unix seconds. Everything raises StoreUnavailable."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def days(self, plan: Cut) -> dict[str, Days]:
        """The keys that were used, with the days on which they were."""
        days = numbers((*plan.hours, *plan.minutes), DAY)
        if not days:
            return {}
        first = days[0]
        # An hour that becomes complete while the lists are read may lack keys in those that were read before.
        since = details_until(self._clock())
        found: dict[str, int] = {}
        turns = Turns()
        places = [(shard, day) for day in days for shard in range(names.SHARDS)]
        async for (_, day), members in replies(self._store, places, lambda place: ("ZRANGE", names.active(*place), 0, -1), LISTS):
            for member in members:
                key_id = member.decode()
                found[key_id] = found.get(key_id, 0) | 1 << (day - first)
            await turns.after(len(members))
        if len(found) > FEW and not plan.hours:
            found = await self._in_minutes(plan.minutes, first)
        else:
            late = await self._in_minutes(tuple((max(start, since), end) for start, end in plan.minutes if end > since), first)
            for key_id, bits in late.items():
                found[key_id] = found.get(key_id, 0) | bits
                await turns.after()
        made: dict[str, Days] = {}
        for key_id, bits in found.items():
            made[key_id] = Days(first, bits)
            await turns.after()
        return made

    async def requests(self, keys: Mapping[str, Days], plan: Cut) -> dict[str, float]:
        """How many requests each of `keys` had, by a plan with whole days: these are known without reading what keys did on them."""
        found = dict.fromkeys(keys, 0.0)
        turns = Turns()
        places = [(shard, day) for day in numbers(plan.days, DAY) for shard in range(names.SHARDS)]
        lists = replies(self._store, places, lambda place: ("ZRANGE", names.active(*place), 0, -1, "WITHSCORES"), LISTS)
        async for _, members in lists:
            for member, score in members:
                key_id = member.decode()
                if key_id in found:
                    found[key_id] += score
            await turns.after(len(members))
        rest = replace(plan, days=())
        in_part = numbers((*rest.hours, *rest.minutes), DAY)
        used: list[str] = []
        for key_id, days in keys.items():
            # Most were used on whole days alone: `replies` would run through all of these in search of something to read.
            if any(day in days for day in in_part):
                used.append(key_id)
            await turns.after()
        wanted = ((reading, key_id) for key_id in used for reading in readings(key_id, rest, days=keys[key_id]))
        async for (reading, key_id), reply in replies(self._store, wanted, lambda each: each[0].command):
            cells = list(reading.cells(reply))
            found[key_id] += sum(values[0] for _, parts, values in cells if in_total(parts))
            await turns.after(len(cells))
        return found

    async def _in_minutes(self, ranges: tuple[Range, ...], first: int) -> dict[str, int]:
        """The same as bits, from the names of the fields there: of thousands of keys of a day, a few minutes mostly have few."""
        layout = SERIES["m"]
        size = layout.bucket * layout.slice
        slices = set(numbers(ranges, size))
        places = [(shard, hour) for hour in numbers(ranges, layout.span) for shard in range(names.SHARDS)]
        found: dict[str, int] = {}
        turns = Turns()
        # One hour at a time: a busy one has thousands of names in each shard.
        reads = replies(self._store, places, lambda place: ("HKEYS", names.series(place[0], "m", place[1])), names.SHARDS)
        async for (_, hour), fields in reads:
            bit = 1 << (hour * layout.span // DAY - first)
            for field in fields:
                key_id, _, place = field.decode().rpartition("|")
                if key_id != ALL and hour * (layout.span // size) + int(place) in slices:
                    found[key_id] = found.get(key_id, 0) | bit
            await turns.after(len(fields))
        return found
