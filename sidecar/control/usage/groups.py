"""The groups of a usage report, made a few at a time: neither all of them nor their points are held at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence

from sidecar.control.queries import UsageGroup, UsageGroups, Use
from sidecar.control.totals.nested import add_list
from sidecar.control.totals.series import Values
from sidecar.control.turns import Turns
from sidecar.control.usage.tally import Points, Tally, use_of

POINTS = 25_000
"""Points of groups that are held at a time, of some 400 bytes each; more only where a single group has more."""
POINTS_TOGETHER = 100_000
"""The same where the groups lie together in the store, so that for each part all of them are read anew."""

Read = Callable[[Collection[str]], Awaitable[Tally]]
"""Groups → what the store has of them."""


async def in_parts(parts: Sequence[Collection[str]], read: Read) -> UsageGroups:
    """The groups of `parts`, the first part read at once: a report of one part is not begun when the store does not answer."""
    first = await read(parts[0] if parts else ())
    return UsageGroups([group for part in parts for group in part], _each(first, parts[1:], read))


def in_one(tally: Tally) -> UsageGroups:
    """All groups of a tally."""
    return UsageGroups(tally.ranked(), _made(tally))


async def added_up(points: Points) -> tuple[Use, list[tuple[float, Use]]]:
    """Totals, and points; the totals are the sum of the points."""
    turns = Turns()
    total: Values = []
    series: list[tuple[float, Use]] = []
    for time, values in points:
        add_list(total, values)
        series.append((float(time), use_of(values)))
        await turns.after()
    return use_of(total), series


async def _each(first: Tally, later: Sequence[Collection[str]], read: Read) -> AsyncIterator[UsageGroup]:
    async for group in _made(first):
        yield group
    for part in later:
        async for group in _made(await read(part)):
            yield group


async def _made(tally: Tally) -> AsyncIterator[UsageGroup]:
    for name in tally.ranked():
        yield UsageGroup(name, *await added_up(tally.take(name)))
