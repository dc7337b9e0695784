"""Sums by step and group are those of plain addition, however much of them is kept."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.queries import Use
from sidecar.control.totals.series import MEASURES, Values
from sidecar.control.usage.tally import Sizes, Tally, use_of
from tests.control.support.work import Work

STEP = 60
groups = st.sampled_from(["a", "b", "c", "d"])
values = st.lists(st.integers(0, 1000), min_size=1, max_size=len(MEASURES))
cells = st.lists(st.tuples(st.floats(0, 600), values, st.none() | groups), max_size=60)

Cells = list[tuple[float, Values, str | None]]


def plain(added: Cells) -> dict[str | None, dict[int, Values]]:
    sums: dict[str | None, dict[int, Values]] = defaultdict(lambda: defaultdict(lambda: [0] * len(MEASURES)))
    for time, each, group in added:
        mine = sums[group][int(time // STEP) * STEP]
        for place, value in enumerate(each):
            mine[place] += value
    return sums


def filled(tally: Tally, added: Cells) -> Tally:
    for time, each, group in added:
        tally.add(time, each, group)
    return tally


def whole(points: list[tuple[int, Values]]) -> list[tuple[int, Values]]:
    return [(at, [*each, *[0] * (len(MEASURES) - len(each))]) for at, each in points]


@given(cells, st.none() | st.sets(st.none() | groups))
def test_sums_by_step_and_group(added: Cells, only: set[str | None] | None) -> None:
    before = [list(each) for _, each, _ in added]
    tally, sums = filled(Tally(STEP, only), added), plain(added)
    wanted = [group for group in sums if group is not None and (only is None or group in only)]
    requests = {group: sum(each[0] for each in sums[group].values()) for group in wanted}
    assert tally.requests() == requests
    assert tally.ranked() == sorted(wanted, key=lambda group: (-requests[group], group))
    for group in (None, "a", "b", "c", "d"):
        expected = sorted(sums[group].items()) if group in sums and (only is None or group in only) else []
        assert whole(tally.take(group)) == expected
        assert tally.take(group) == []
    # The store's lists may be kept, and are not changed.
    assert [each for _, each, _ in added] == before


@given(cells, cells)
def test_what_another_one_has_is_added_under_its_name_here(added: Cells, more: Cells) -> None:
    names = {"a": "b", "c": "z"}
    tally = filled(Tally(STEP), added)
    tally.merge(filled(Tally(STEP), more), names)
    renamed = [(time, each, names.get(group, group) if group is not None else None) for time, each, group in more]
    sums = plain([*added, *renamed])
    assert {group: whole(tally.take(group)) for group in sums} == {group: sorted(points.items()) for group, points in sums.items()}


@given(cells, st.integers(0, 20), st.integers(1, 20))
async def test_too_many_points_are_let_go_and_their_parts_hold_all_of_them(added: Cells, most: int, room: int) -> None:
    tally, sums = filled(Tally(STEP, most=most), added), plain(added)
    points = {group: len(each) for group, each in sums.items() if group is not None}
    assert whole(tally.take()) == sorted(sums[None].items())
    if sum(points.values()) <= most:
        assert tally.sizes is None and tally.let_go() == 0
        return
    gone = 0
    while left := tally.let_go():
        gone += left
    assert (gone, tally.requests()) == (most + 1, {})
    assert tally.sizes is not None
    parts = await tally.sizes.parts(room, 11)
    requests = {group: sum(each[0] for each in sums[group].values()) for group in points}
    assert [group for part in parts for group in part] == sorted(points, key=lambda group: (-requests[group], group))
    assert all(sum(points[group] for group in part) <= room or len(part) == 1 for part in parts)


async def test_parts_are_as_large_as_they_may_be() -> None:
    sizes = Sizes()
    for group, requests, points in (("a", 1, 5), ("b", 9, 3), ("c", 9, 99), ("d", 2, 4), ("e", 0, 1), ("a", 4, 0)):
        sizes.add(group, requests, points)
    assert await sizes.parts(8, 1000) == [["b"], ["c"], ["a"], ["d", "e"]]
    assert await sizes.parts(8, 4) == [["b", "c"], ["a", "d"], ["e"]]
    assert await Sizes().parts(8, 4) == []


async def test_others_have_turns_while_many_groups_are_parted() -> None:
    sizes, work = Sizes(), Work()
    for number in range(5000):
        sizes.add(f"group_{number}", 1, 1)
    async with work.watching():
        assert len(await sizes.parts(100, 1)) == 50
    assert work.turns >= 4


@given(values)
def test_measures_by_name(each: Values) -> None:
    named = dict(zip(MEASURES, each, strict=False))
    assert use_of(each) == Use(**{name: named.get(name, 0) for name in Use.__dataclass_fields__})  # type: ignore[arg-type]
    assert type(use_of(each).credits) is float and type(use_of(each).requests) is int
