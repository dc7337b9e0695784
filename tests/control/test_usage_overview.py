"""What the console's screens show of use agrees with the API's reports and with the calls themselves."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sidecar.control.queries import Use
from sidecar.control.usage_overview import AT_A_TIME, Overview
from sidecar.events.record import Request
from sidecar.store import names
from sidecar.store.client import Store
from sidecar.store.link import Command
from tests.control.support.events import key_id
from tests.control.support.folding import Folding, usage_of, write, writer
from tests.control.test_usage import DAY, HOUR, NOW, clock, some_requests, sum_up


async def folded(directory: Path, store: Store, events: list[Request]) -> Overview:
    write(writer(directory / "spool"), *events)
    await Folding(directory / "spool", store).run()
    return Overview(store, usage_of(store, clock))


async def test_one_reading_gives_every_side(store: Store, tmp_path: Path) -> None:
    events = some_requests(400)
    overview = await folded(tmp_path, store, events)
    end = (NOW // 60 + 1) * 60
    for key in (None, key_id(1)):
        for start, step in ((end - HOUR, 60), (end // HOUR * HOUR - DAY, HOUR), (end // DAY * DAY - 3 * DAY, DAY)):
            mine = [event for event in events if key in (None, event.key_id) and start <= event.time < end]
            found = await overview.breakdown(key, start, end, step)
            assert found.totals == sum_up(mine) == await overview.totals(key, start, end)
            assert sum(use.requests for use in found.series.values()) == len(mine)
            for name in ("model", "outcome", "route"):
                assert {group.by: group.totals for group in found.groups[name]} == {
                    value: sum_up([event for event in mine if getattr(event, name) == value])
                    for value in {getattr(event, name) for event in mine}
                }


async def test_the_busiest_keys_come_first(store: Store, tmp_path: Path) -> None:
    events = some_requests(300)
    overview = await folded(tmp_path, store, events)
    end = (NOW // 60 + 1) * 60
    start = end - 3 * DAY
    expected: dict[str, Use] = {
        key: sum_up([event for event in events if event.key_id == key]) for key in {event.key_id for event in events}
    }
    ranked = sorted(expected.items(), key=lambda pair: (-pair[1].requests, pair[0]))
    assert await overview.top_keys(start, end, 10) == ranked
    assert await overview.top_keys(start, end, 2) == ranked[:2]
    assert await overview.top_keys(0, DAY, 2) == []


async def test_no_trip_is_long(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = some_requests(300)
    overview = await folded(tmp_path, store, events)
    trips: list[int] = []
    plain = store.pipeline

    async def pipeline(commands: Sequence[Command]) -> list[Any]:
        trips.append(len(commands))
        return await plain(commands)

    monkeypatch.setattr(store, "pipeline", pipeline)
    end = (NOW // DAY + 1) * DAY
    found = await overview.breakdown(None, end - 60 * DAY, end, DAY)
    top = await overview.top_keys(end - 60 * DAY, end, 10)
    assert found.totals == sum_up(events) and sum(use.requests for _, use in top) == len(events)
    assert max(trips) <= AT_A_TIME and sum(trips) > 60 * names.SHARDS


async def test_hours_of_many_keys(store: Store, tmp_path: Path) -> None:
    events = some_requests(200)
    overview = await folded(tmp_path, store, events)
    keys = [key_id(0), key_id(1), key_id(9)]
    now = time.time()
    found = await overview.last_hours(keys, NOW)
    last = int(NOW // HOUR)
    for key in keys:
        hours = [int(event.time // HOUR) for event in events if event.key_id == key]
        assert found[key] == [hours.count(hour) for hour in range(last - 23, last + 1)]
    assert await overview.last_hours([], now) == {}
