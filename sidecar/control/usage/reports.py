"""Answers how much was used, by whom and for what, from the stored series and, for parts of a minute, the call log.

What a stream moved while it still ran is not in the call log: in a part of a minute these bytes are missing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import replace

from sidecar.control.queries import GroupBy, Step, UsageGroup, UsageGroups, UsageReport
from sidecar.control.totals.series import DAY, DIMENSIONS, MEASURES, MINUTE, Retention, Values, values_of
from sidecar.control.turns import TRIP, Turns, replies
from sidecar.control.usage.active_keys import ActiveKeys
from sidecar.control.usage.calls import Calls, Wanted
from sidecar.control.usage.groups import POINTS, POINTS_TOGETHER, added_up, in_one, in_parts
from sidecar.control.usage.minutes import there_from
from sidecar.control.usage.readings import Reading, in_total, readings, split
from sidecar.control.usage.span import STEPS, Cut, Range, cut, details_until, down, in_days, minutes_read_from, up
from sidecar.control.usage.tally import Sizes, Tally
from sidecar.events.record import Request
from sidecar.store.client import Store

WHOLE_AT_A_TIME = 10
"""Reads of one trip of what all keys did together: these have the sums of every group."""
KEYS_AT_A_TIME = 500
BYTES = MEASURES.index("bytes_in")

Owners = Callable[[list[str]], Awaitable[dict[str, str]]]
"""Key ids → the owner of each."""


class Reports:
    """Answers queries; `clock` gives Unix seconds."""

    def __init__(self, store: Store, calls: Calls, owners: Owners, retention: Retention, clock: Callable[[], float]) -> None:
        self._store = store
        self._calls = calls
        self._owners = owners
        self._retention = retention
        self._clock = clock
        self._active = ActiveKeys(store, clock)

    async def usage(self, key_id: str | None, start: float | None, end: float | None, step: Step, group_by: GroupBy | None) -> UsageReport:
        """The use of one key, or of all together; raises StoreUnavailable."""
        of_keys = group_by in ("key", "owner")
        if key_id is not None and of_keys:
            return await self._as_one_group(key_id, await self.usage(key_id, start, end, step, None), group_by)
        # Keys have no days of their own.
        plan = await self.plan(key_id, start, end, fine=step == "1m", coarse=step == "1d" and key_id is None and not of_keys)
        calls = await self._calls_in(plan, key_id, step, group_by)

        async def read(groups: Collection[str | None] | None) -> Tally:
            tally = Tally(STEPS[step], groups, POINTS_TOGETHER if groups is None else math.inf)
            wanted = ((each, None) for each in readings(key_id, plan))
            await self._read(tally, wanted, DIMENSIONS.get(group_by or "", ""), WHOLE_AT_A_TIME if key_id is None else TRIP)
            tally.merge(calls)
            turns = Turns()
            while points := tally.let_go():
                await turns.after(points)
            return tally

        tally = await read((None,) if of_keys else None)
        totals, series = await added_up(tally.take())
        groups: UsageGroups | None = None
        if of_keys:
            groups = await self._of_keys(start, end, plan, step, calls, owned=group_by == "owner")
        elif tally.sizes is not None:
            groups = await in_parts(await tally.sizes.parts(POINTS_TOGETHER, _steps(plan, step)), read)
        elif group_by is not None:
            groups = in_one(tally)
        return UsageReport(
            None if start is None else plan.start,
            None if end is None else end if end >= self._clock() else plan.end,
            step,
            totals,
            series,
            groups,
        )

    async def _of_keys(self, start: float | None, end: float | None, plan: Cut, step: Step, calls: Tally, *, owned: bool) -> UsageGroups:
        """The groups by key, or by owner."""
        active = await self._active.days(plan)
        of_calls = calls.requests()
        keys = sorted(active.keys() | of_calls.keys())
        owners = await self._owners_of(keys) if owned else {}
        steps, in_a_day = _steps(plan, step), DAY // STEPS[step]
        members: defaultdict[str, list[str]] = defaultdict(list)
        sizes = Sizes()
        turns = Turns()
        for key_id in keys:
            group = owners.get(key_id, key_id)
            members[group].append(key_id)
            sizes.add(group, of_calls.get(key_id, 0), min(steps, in_a_day * len(active.get(key_id, ())) + 1))
            await turns.after()
        parts = await sizes.parts(POINTS, steps)
        if len(parts) > 1:
            # Only those of one part can be put in their order when they are read.
            days = await self.plan(None, start, end, fine=False, coarse=True)
            for key_id, requests in (await self._active.requests(active, days)).items():
                sizes.add(owners.get(key_id, key_id), requests, 0)
                await turns.after()
            parts = await sizes.parts(POINTS, steps)

        async def read(groups: Collection[str]) -> Tally:
            tally = Tally(STEPS[step], groups)
            wanted = (
                (reading, group)
                for group in groups
                for key_id in members[group]
                if key_id in active
                for reading in readings(key_id, plan, days=active[key_id])
            )
            await self._read(tally, wanted)
            tally.merge(calls, owners)
            return tally

        return await in_parts(parts, read)

    async def _as_one_group(self, key_id: str, report: UsageReport, group_by: GroupBy | None) -> UsageReport:
        by = key_id if group_by == "key" else (await self._owners([key_id])).get(key_id, "")
        return replace(report, groups=UsageGroups.of([UsageGroup(by, report.totals, report.series)] if report.series else []))

    async def plan(self, key_id: str | None, start: float | None, end: float | None, *, fine: bool, coarse: bool = False) -> Cut:
        """What to read for a span; widened where what it asks for is no longer kept. `coarse` takes whole days of all keys together."""
        now = self._clock()
        first = down(now - self._retention.hours, DAY) if start is None else start
        # Nothing has ended after now: its minute need not be cut. Workers' clocks are this machine's.
        first, last = self.kept(first, up(now, DAY) + DAY if end is None else up(end, MINUTE) if end >= now else end)
        calls_from = float("inf")
        if first % MINUTE or last % MINUTE:
            calls_from = await self._calls.complete_since(key_id)
        complete = details_until(now)

        def cut_from(minutes_from: int) -> Cut:
            return cut(first, last, minutes_from=minutes_from, hours_until=complete, calls_from=calls_from, fine=fine)

        plan = cut_from(minutes_read_from(now, self._retention.minutes))
        if minutes_from := await there_from(self._store, plan.minutes, complete):
            plan = cut_from(minutes_from)
        return in_days(plan) if coarse else plan

    def kept(self, start: float, end: float) -> Range:
        """A span without what is certainly no longer kept: one of decades is not walked through."""
        longest = max(self._retention.hours, self._retention.minutes)
        first = max(start, down(self._clock() - longest, DAY) - DAY)
        return first, max(first, end)

    async def _owners_of(self, key_ids: list[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for first in range(0, len(key_ids), KEYS_AT_A_TIME):
            found |= await self._owners(key_ids[first : first + KEYS_AT_A_TIME])
        return found

    async def _calls_in(self, plan: Cut, key_id: str | None, step: Step, group_by: GroupBy | None) -> Tally:
        """The calls of parts of a minute; where owners are the groups, by key."""
        tally = Tally(STEPS[step])
        for first, last in plan.calls:
            async for event in self._calls.find(Wanted(key_id, start=first, end=last)):
                if event.key_id:
                    _add(tally, event, group_by)
        return tally

    async def _read(self, tally: Tally, wanted: Iterable[tuple[Reading, str | None]], dimension: str = "", most: int = TRIP) -> None:
        """Add up what is wanted: under a group its totals alone, else totals and what belongs to `dimension`."""
        prefix = dimension + "|"
        turns = Turns()
        async for (reading, group), reply in replies(self._store, wanted, lambda each: each[0].command, most):
            cells = list(reading.cells(reply))
            for time, parts, values in cells:
                if in_total(parts):
                    tally.add(time, values, group)
                if dimension:
                    for part in split(parts):
                        if part.startswith(prefix):
                            tally.add(time, values, part.removeprefix(prefix))
            await turns.after(len(cells) + tally.let_go())


def _steps(plan: Cut, step: Step) -> int:
    """How many points a series has at most."""
    return int((plan.end - plan.start) // STEPS[step]) + 2


def _add(tally: Tally, event: Request, group_by: GroupBy | None) -> None:
    """Add a call as its minute's series do: bytes that stand in earlier minutes already belong to its key there, but to no other group."""
    whole: Values = values_of(event)
    rest = [*whole[:BYTES], event.bytes_in - event.interim_in, event.bytes_out - event.interim_out, *whole[BYTES + 2 :]]
    tally.add(event.time, rest)
    if group_by in ("key", "owner"):
        tally.add(event.time, rest, event.key_id)
    elif group_by is not None:
        value = {"model": event.model_served or event.model, "route": event.route, "outcome": event.outcome}[group_by]
        if value:
            tally.add(event.time, whole, value)
