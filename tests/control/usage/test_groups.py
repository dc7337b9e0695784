"""Groups come a few at a time, in their order, and whole."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.queries import Use
from sidecar.control.totals.series import MEASURES, Values
from sidecar.control.usage.groups import added_up, in_one, in_parts
from sidecar.control.usage.tally import Tally
from sidecar.store.errors import StoreUnavailable

PARTS = [["busy", "b"], ["c"], ["gone"], ["d"]]


@given(st.dictionaries(st.integers(0, 1000), st.lists(st.integers(0, 1000), min_size=1, max_size=len(MEASURES)), max_size=40))
async def test_totals_are_the_sum_of_the_points(sums: dict[int, Values]) -> None:
    totals, series = await added_up(sorted(sums.items()))
    assert [time for time, _ in series] == sorted(sums)
    for name in Use.__dataclass_fields__:
        assert getattr(totals, name) == sum(getattr(use, name) for _, use in series)


def tally_of(groups: Collection[str]) -> Tally:
    tally = Tally(60)
    for group in groups:
        if group != "gone":
            tally.add(60, [9 if group == "busy" else 1], group)
            tally.add(120, [1], group)
    return tally


async def test_a_part_is_read_when_the_one_before_has_been_taken() -> None:
    read: list[Collection[str]] = []

    async def reading(groups: Collection[str]) -> Tally:
        read.append(groups)
        return tally_of(groups)

    groups = await in_parts(PARTS, reading)
    assert (groups.names, read) == (["busy", "b", "c", "gone", "d"], PARTS[:1])
    seen = []
    async for group in groups.each:
        seen.append((group.by, group.totals.requests, len(group.series), len(read)))
    # Of what has gone since it was noted, nothing is told.
    assert seen == [("busy", 10, 2, 1), ("b", 2, 2, 1), ("c", 2, 2, 2), ("d", 2, 2, 4)]


async def test_without_groups_there_is_nothing_to_read() -> None:
    async def reading(groups: Collection[str]) -> Tally:
        return tally_of(groups)

    assert [group async for group in (await in_parts([], reading)).each] == []
    assert [group.by async for group in in_one(tally_of(["c", "busy"])).each] == ["busy", "c"]


async def test_a_store_that_is_away_is_noticed_before_the_first_group() -> None:
    async def reading(groups: Collection[str]) -> Tally:
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        await in_parts(PARTS, reading)
