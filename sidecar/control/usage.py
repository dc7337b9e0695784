"""Answers how much was used, by whom and for what, from the stored series and, for parts of a minute, the call log.

What a stream moved while it still ran is not in the call log: in a part of a minute these bytes are missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from sidecar.control.calls import Calls, Wanted
from sidecar.control.queries import GroupBy, Step, UsageGroup, UsageReport
from sidecar.control.readings import Reading, readings, split
from sidecar.control.series import ALL, DAY, DIMENSIONS, HOUR, MEASURES, MINUTE, SERIES, Retention, Values, values_of
from sidecar.control.usage_span import STEPS, Cut, Range, cut, down, in_days, minutes_kept_from, numbers, up
from sidecar.control.usage_tally import Tally
from sidecar.events.record import Request
from sidecar.store import names
from sidecar.store.client import Store

BATCH = 200
BYTES = MEASURES.index("bytes_in")

Owners = Callable[[list[str]], Awaitable[dict[str, str]]]
"""Key ids → the owner of each."""


class Usage:
    """Answers queries; `clock` gives Unix seconds."""

    def __init__(self, store: Store, calls: Calls, owners: Owners, retention: Retention, clock: Callable[[], float]) -> None:
        self._store = store
        self._calls = calls
        self._owners = owners
        self._retention = retention
        self._clock = clock

    async def usage(self, key_id: str | None, start: float | None, end: float | None, step: Step, group_by: GroupBy | None) -> UsageReport:
        """The use of one key, or of all together; raises StoreUnavailable."""
        if key_id is not None and group_by in ("key", "owner"):
            return await self._as_one_group(key_id, await self.usage(key_id, start, end, step, None), group_by)
        dimension = DIMENSIONS.get(group_by or "", "")
        # Keys have no days of their own.
        coarse = step == "1d" and key_id is None and group_by not in ("key", "owner")
        plan = await self.plan(key_id, start, end, fine=step == "1m", coarse=coarse)
        tally = Tally(STEPS[step])
        await self._read(tally, [(each, None) for each in readings(key_id, plan)], dimension)
        events = [
            event for first, last in plan.calls async for event in self._calls.find(Wanted(key_id, start=first, end=last)) if event.key_id
        ]
        owners: dict[str, str] = {}
        if group_by in ("key", "owner"):
            active = await self._active(plan)
            if group_by == "owner":
                owners = await self._owners(sorted({*active, *(event.key_id for event in events)}))
            of_keys = [(each, owners.get(key, key)) for key, days in active.items() for each in readings(key, plan, days=days)]
            await self._read(tally, of_keys, "")
        for event in events:
            _add(tally, event, group_by, owners)
        totals, series = tally.series()
        return UsageReport(
            None if start is None else plan.start,
            None if end is None else end if end >= self._clock() else plan.end,
            step,
            totals,
            series,
            tally.groups() if group_by else None,
        )

    async def _as_one_group(self, key_id: str, report: UsageReport, group_by: GroupBy) -> UsageReport:
        by = key_id if group_by == "key" else (await self._owners([key_id])).get(key_id, "")
        return replace(report, groups=[UsageGroup(by, report.totals, report.series)] if report.series else [])

    async def plan(self, key_id: str | None, start: float | None, end: float | None, *, fine: bool, coarse: bool = False) -> Cut:
        """What to read for a span; widened where what it asks for is no longer kept. `coarse` takes whole days of all keys together."""
        now = self._clock()
        first = down(now - self._retention.hours, DAY) if start is None else start
        # Nothing has ended after now: its minute need not be cut. Workers' clocks are this machine's.
        last = up(now, DAY) + DAY if end is None else up(end, MINUTE) if end >= now else end
        calls_from = float("inf")
        if first % MINUTE or last % MINUTE:
            calls_from = await self._calls.complete_since(key_id)
        plan = cut(
            first,
            last,
            minutes_from=minutes_kept_from(now, self._retention.minutes),
            hours_until=_details_until(now),
            calls_from=calls_from,
            fine=fine,
        )
        return in_days(plan) if coarse else plan

    async def _active(self, plan: Cut) -> dict[str, set[int]]:
        """The keys that were used, with the days on which they were."""
        days = numbers((*plan.hours, *plan.minutes), DAY)
        places = [(shard, day) for day in days for shard in range(names.SHARDS)]
        found: dict[str, set[int]] = {}
        async for (_, day), members in self._in_batches(places, lambda place: ("ZRANGE", names.active(*place), 0, -1)):
            for member in members:
                found.setdefault(member.decode(), set()).add(day)
        if len(found) > BATCH and not plan.hours:
            return await self._in_minutes(plan.minutes)
        since = _details_until(self._clock())
        late = await self._in_minutes(tuple((max(first, since), last) for first, last in plan.minutes if last > since))
        for key_id, its_days in late.items():
            found.setdefault(key_id, set()).update(its_days)
        return found

    async def _in_minutes(self, ranges: tuple[Range, ...]) -> dict[str, set[int]]:
        """The same from the names of the fields there: of thousands of keys of a day, a few minutes mostly have few."""
        layout = SERIES["m"]
        size = layout.bucket * layout.slice
        slices = set(numbers(ranges, size))
        places = [(shard, hour) for hour in numbers(ranges, layout.span) for shard in range(names.SHARDS)]
        found: dict[str, set[int]] = {}
        # One hour at a time: a busy one has thousands of names in each shard.
        reads = self._in_batches(places, lambda place: ("HKEYS", names.series(place[0], "m", place[1])), most=names.SHARDS)
        async for (_, hour), fields in reads:
            for field in fields:
                key_id, _, place = field.decode().rpartition("|")
                if key_id != ALL and hour * (layout.span // size) + int(place) in slices:
                    found.setdefault(key_id, set()).add(hour * layout.span // DAY)
        return found

    async def _read(self, tally: Tally, wanted: Sequence[tuple[Reading, str | None]], dimension: str) -> None:
        """Add up what is wanted: under a group its totals alone, else totals and what belongs to `dimension`."""
        prefix = dimension + "|"
        async for (reading, group), reply in self._in_batches(wanted, lambda each: each[0].command):
            for time, parts, values in reading.cells(reply):
                for part in split(parts):
                    if not part:
                        tally.add(time, values, group)
                    elif dimension and part.startswith(prefix):
                        tally.add(time, values, part.removeprefix(prefix))

    async def _in_batches(
        self, items: Sequence[Any], command: Callable[[Any], tuple[Any, ...]], most: int = BATCH
    ) -> AsyncIterator[tuple[Any, Any]]:
        for start in range(0, len(items), most):
            part = items[start : start + most]
            for item, reply in zip(part, await self._store.pipeline([command(item) for item in part]), strict=True):
                yield item, reply
            # Others want to be served too.
            await asyncio.sleep(0)


def _details_until(now: float) -> int:
    """Until when hours and the lists of used keys are complete; under load they come into the store a little later than minutes."""
    return down(now - HOUR, HOUR)


def _add(tally: Tally, event: Request, group_by: GroupBy | None, owners: dict[str, str]) -> None:
    """Add a call as its minute's series do: bytes that stand in earlier minutes already belong to its key there, but to no other group."""
    whole: Values = values_of(event)
    rest = [*whole[:BYTES], event.bytes_in - event.interim_in, event.bytes_out - event.interim_out, *whole[BYTES + 2 :]]
    tally.add(event.time, rest)
    if group_by == "key":
        tally.add(event.time, rest, event.key_id)
    elif group_by == "owner":
        tally.add(event.time, rest, owners.get(event.key_id, event.key_id))
    elif group_by is not None:
        value = {"model": event.model_served or event.model, "route": event.route, "outcome": event.outcome}[group_by]
        if value:
            tally.add(event.time, whole, value)
