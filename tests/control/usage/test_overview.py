"""What the console's screens show of use agrees with the API's reports and with the calls themselves."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sidecar.control.queries import Use
from sidecar.control.totals.nested import packed
from sidecar.control.totals.series import ALL, SEPARATOR
from sidecar.control.usage.overview import AT_A_TIME, DAYS_AT_A_TIME, SCRIPTS_AT_A_TIME, Overview
from sidecar.control.usage.readings import split
from sidecar.events.record import Request
from sidecar.store import names
from sidecar.store.client import ScriptCall, Store
from sidecar.store.link import Command
from sidecar.store.script import load
from tests.control.support.events import key_id
from tests.control.support.folding import Folding, usage_of, write, writer
from tests.control.support.series import OF_A_MINUTE, fill_minutes
from tests.control.support.work import Work
from tests.control.usage.test_reports import DAY, HOUR, NOW, clock, some_requests, sum_up


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


async def test_a_grouping_that_only_a_newer_version_knows_is_passed_over(store: Store) -> None:
    start = int(NOW) // HOUR * HOUR
    cells = packed({f"0{SEPARATOR}{SEPARATOR}m|gpt{SEPARATOR}x|new": [3]})
    await store.call("HSET", names.series(names.GLOBAL_SHARD, "m", start // HOUR), f"{ALL}|0", cells)
    found = await Overview(store, usage_of(store, clock)).breakdown(None, start, start + 60, 60)
    assert (found.totals.requests, [group.by for group in found.groups["model"]]) == (3, ["gpt"])


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
    asked: list[Command] = []
    scripts: list[Sequence[ScriptCall]] = []
    pipeline, run_many = store.pipeline, store.run_many

    async def counted_pipeline(commands: Sequence[Command]) -> list[Any]:
        trips.append(len(commands))
        asked.extend(commands)
        return await pipeline(commands)

    async def counted_run_many(calls: Sequence[ScriptCall]) -> list[Any]:
        scripts.append(calls)
        return await run_many(calls)

    monkeypatch.setattr(store, "pipeline", counted_pipeline)
    monkeypatch.setattr(store, "run_many", counted_run_many)
    end = (NOW // DAY + 1) * DAY
    found = await overview.breakdown(None, end - 60 * DAY, end, DAY)
    top = await overview.top_keys(end - 60 * DAY, end, 10)
    assert found.totals == sum_up(events) and sum(use.requests for _, use in top) == len(events)
    assert any(names.series(names.GLOBAL_SHARD, "d", int(NOW // (32 * DAY))) in command for command in asked)
    assert max(trips) <= AT_A_TIME and max(map(len, scripts)) <= SCRIPTS_AT_A_TIME
    assert max(len(keys) for calls in scripts for _, keys, _ in calls) <= DAYS_AT_A_TIME
    assert sum(len(keys) for calls in scripts for _, keys, _ in calls) >= 60 * names.SHARDS


async def test_what_was_kept_longest_ago_is_where_a_span_of_decades_begins(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = some_requests(100)
    overview = await folded(tmp_path, store, events)
    asked: list[Command] = []
    pipeline = store.pipeline

    async def noted(commands: Sequence[Command]) -> list[Any]:
        asked.extend(commands)
        return await pipeline(commands)

    monkeypatch.setattr(store, "pipeline", noted)
    end = (NOW // DAY + 1) * DAY
    for key in (None, key_id(1)):
        mine = [event for event in events if key in (None, event.key_id)]
        assert (await overview.breakdown(key, 0, end, 70 * DAY)).totals == sum_up(mine) == await overview.totals(key, 0, end)
    top = await overview.top_keys(0, end, 10)
    assert sum(use.requests for _, use in top) == len(events)
    assert (await overview.breakdown(None, 0, DAY, DAY)).totals == await overview.totals(None, 0, DAY) == Use()
    # Days of a key, twice and once more for each of four keys, with the hours of the last day or two; the months of all together are few.
    assert len(asked) <= 6 * (403 + 50)


async def test_others_have_turns_while_much_is_added_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    end = int(NOW) // HOUR * HOUR
    await fill_minutes(store, [key_id(1)], end - 2 * DAY, end)
    overview = Overview(store, usage_of(store, lambda: end))
    work = Work()
    monkeypatch.setattr("sidecar.control.usage.overview.split", work.counted(split))
    async with work.watching():
        found = await overview.breakdown(key_id(1), end - 2 * DAY, end, 60)
    assert (len(found.series), found.totals.requests) == (2 * 1440, 2 * 1440 * OF_A_MINUTE[0])
    assert work.longest <= 1500


async def test_the_busiest_of_several_days(store: Store) -> None:
    """The script against the same in a few lines of Python, with many equals and with lists that end early."""
    chance = random.Random(1)
    script = load("busiest")
    for _ in range(200):
        members = [f"m{number}" for number in range(chance.randint(1, 12))]
        days = [{member: chance.randint(1, 4) for member in members if chance.random() < 0.7} for _ in range(chance.randint(1, 6))]
        first, most = chance.randint(1, 12), chance.randint(1, 12)
        sums: Counter[str] = Counter()
        keys = [f"day:{number}" for number in range(len(days))]
        for key, day in zip(keys, days, strict=True):
            await store.call("DEL", key)
            for member, score in day.items():
                await store.call("ZADD", key, score, member)
            # As the store ranks: of equal ones the later name first.
            sums.update(dict(sorted(day.items(), key=lambda pair: (pair[1], pair[0]), reverse=True)[:first]))
        reply = await store.run(script, keys, (first, most))
        found = [(member.decode(), float(count)) for member, count in zip(reply[::2], reply[1::2], strict=True)]
        assert [count for _, count in found] == [count for _, count in sums.most_common(most)]
        assert all(sums[member] == count for member, count in found)


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
