"""Which keys were used, when and how often agrees with the calls themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.folding.ledger import NOW as LANE_NOW
from sidecar.control.turns import AT_ONCE
from sidecar.control.usage.active_keys import ActiveKeys, Days
from sidecar.control.usage.span import Cut
from sidecar.store import names
from sidecar.store.client import Store
from tests.control.support.events import key_id, request
from tests.control.support.folding import Folding, usage_of, write, writer
from tests.control.support.work import Work
from tests.control.usage.test_reports import DAY, HOUR, NOW, clock, some_requests


@given(st.integers(0, 20_000), st.sets(st.integers(0, 500)))
def test_days_are_those_that_were_put_in(first: int, days: set[int]) -> None:
    found = Days(first, sum(1 << day for day in days))
    assert len(found) == len(days)
    assert [day for day in range(max(0, first - 3), first + 510) if day in found] == [first + day for day in sorted(days)]
    assert "monday" not in found


@pytest.mark.parametrize(
    ("start", "end"),
    [(NOW - 3 * DAY, NOW), (NOW - HOUR, NOW), (NOW // DAY * DAY - DAY, NOW // DAY * DAY), (NOW - 2 * DAY + 90, NOW - DAY), (NOW, NOW)],
)
async def test_requests_of_a_span(store: Store, tmp_path: Path, start: float, end: float) -> None:
    events = some_requests(400)
    write(writer(tmp_path / "spool"), *events)
    await Folding(tmp_path / "spool", store).run()
    start, end = start // 60 * 60, end // 60 * 60
    active = ActiveKeys(store, clock)
    usage = usage_of(store, clock)
    mine = [event for event in events if start <= event.time < end]
    for fine in (False, True):
        days = await active.days(await usage.plan(None, start, end, fine=fine))
        used = {(event.key_id, int(event.time // DAY)) for event in mine}
        assert all(day in days[key_id] for key_id, day in used)
        found = await active.requests(days, await usage.plan(None, start, end, fine=False, coarse=True))
        assert {key_id: count for key_id, count in found.items() if count} == Counter(event.key_id for event in mine)


async def test_a_key_of_an_hour_that_becomes_complete_meanwhile_is_found(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = NOW // HOUR * HOUR - HOUR
    folding = Folding(tmp_path / "spool", store)
    await folding.fold.restore()
    write(writer(tmp_path / "spool"), request(key_id(1), time=released + 5))
    folding.fold.count()
    await folding.fold.apply(LANE_NOW)
    now, pipeline = NOW, store.pipeline

    async def slow(commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        nonlocal now
        try:
            return await pipeline(commands)
        finally:
            now = NOW + HOUR

    plan = await usage_of(store, clock).plan(None, None, None, fine=False)
    monkeypatch.setattr(store, "pipeline", slow)
    found = await ActiveKeys(store, lambda: now).days(plan)
    assert (list(found), now) == ([key_id(1)], NOW + HOUR)


async def test_others_have_turns_while_many_keys_are_looked_through(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    day, count = int(NOW // DAY), 5000
    plan = Cut(day * DAY - DAY, day * DAY + HOUR, ((day * DAY, day * DAY + HOUR),), (), days=((day * DAY - DAY, day * DAY),))
    for number in range(count):
        key = key_id(number)
        await store.call("ZADD", names.active(names.shard_of(key), day - 1), 2, key)
    active, work = ActiveKeys(store, clock), Work()
    monkeypatch.setattr(Days, "__init__", work.counted(Days.__init__))
    monkeypatch.setattr(Days, "__contains__", work.counted(Days.__contains__))
    async with work.watching():
        days = await active.days(Cut(day * DAY - DAY, day * DAY, ((day * DAY - DAY, day * DAY),), ()))
        assert (len(days), work.longest) == (count, AT_ONCE)
        assert await active.requests(days, plan) == dict.fromkeys(days, 2)
    assert work.longest == AT_ONCE
