from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import Any

import pytest

from sidecar.control.usage import call_bounds
from sidecar.control.usage import calls as module
from sidecar.control.usage.blocks import key_mask, pack, unpack
from sidecar.control.usage.call_bounds import CallLogBounds
from sidecar.control.usage.calls import Calls, Wanted
from sidecar.events.record import Event, Request
from sidecar.events.wire import decode_all, encode
from sidecar.store import names
from sidecar.store.client import Store
from tests.control.support.events import key_id, request
from tests.control.support.folding import Folding, write, writer

NOW = time.time()


async def filled(directory: Path, store: Store, count: int, *, rounds: int = 10) -> list[Request]:
    chance = random.Random(3)
    made = [
        request(
            key_id(chance.randrange(6)),
            time=NOW - 3 * 3600 * chance.random() ** 3,
            outcome=chance.choice(["ok", "ok", "denied"]),
        )
        for _ in range(count)
    ]
    made[5:9] = [request(key_id(2), time=NOW - 60) for _ in range(4)]
    spool = writer(directory)
    folding = Folding(directory, store)
    for number in range(rounds):
        write(spool, *made[number::rounds])
        await folding.run()
    return made


def newest_first(events: list[Request]) -> list[str]:
    return [event.request_id for event in sorted(events, key=lambda event: (event.time, event.request_id), reverse=True)]


async def pages(calls: Calls, limit: int, **filters: object) -> list[str]:
    found: list[str] = []
    cursor = ""
    while True:
        wanted = {"key_id": None, "outcome": None, "start": None, "end": None, **filters}
        page = await calls.calls(**wanted, limit=limit, cursor=cursor)  # type: ignore[arg-type]
        assert len(page.calls) <= limit
        found += [event.request_id for event in page.calls]
        cursor = page.next_cursor
        if not cursor:
            return found


async def test_finds_what_was_written_newest_first(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_HEADERS", 2)
    monkeypatch.setattr(module, "HEADERS", 8)
    monkeypatch.setattr(module, "BLOCKS", 3)
    monkeypatch.setattr(module, "MOST_BLOCKS", 9)
    made = await filled(tmp_path / "spool", store, 300)
    calls = Calls(store)
    assert await pages(calls, 1000) == newest_first(made)
    assert await pages(calls, 7) == newest_first(made)
    assert await pages(calls, 10, key_id=key_id(2)) == newest_first([event for event in made if event.key_id == key_id(2)])
    assert await pages(calls, 10, outcome="denied") == newest_first([event for event in made if event.outcome == "denied"])
    low, high = NOW - 5000, NOW - 100
    assert await pages(calls, 10, start=low, end=high) == newest_first([event for event in made if low <= event.time < high])
    assert await pages(calls, 10, key_id="key_unknown") == []


async def test_a_search_that_finds_little_goes_on_where_it_stopped(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCKS", 2)
    monkeypatch.setattr(module, "MOST_BLOCKS", 2)
    monkeypatch.setattr(module, "MOST_READ", 10)
    made = await filled(tmp_path / "spool", store, 200)
    calls = Calls(store)
    first = await calls.calls(key_id=None, outcome="denied", start=None, end=None, limit=1000, cursor="")
    assert first.next_cursor and len(first.calls) < 20
    for limit in (3, 1000):
        assert await pages(calls, limit, outcome="denied") == newest_first([event for event in made if event.outcome == "denied"])
        assert await pages(calls, limit) == newest_first(made)
        assert await pages(calls, limit, outcome="sidecar_error") == []


async def test_few_calls_are_read_at_a_time_however_many_a_block_holds(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a backlog a block holds thousands."""
    monkeypatch.setattr(module, "CALLS", 50)
    made = await filled(tmp_path / "spool", store, 600, rounds=10)
    steps = [step.read async for step in Calls(store)._steps(Wanted())]
    assert sum(steps) == 600 and max(steps) < 50 + await largest_block(store)
    assert await pages(Calls(store), 1000) == newest_first(made)


async def test_others_are_served_between_two_blocks(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await filled(tmp_path / "spool", store, 600, rounds=10)
    turns = [0]

    def counting(records: list[bytes]) -> list[Event]:
        turns[-1] += len(records)
        return decode_all(records)

    async def others() -> None:
        while True:
            turns.append(0)
            await asyncio.sleep(0)

    monkeypatch.setattr(module, "decode_all", counting)
    other = asyncio.create_task(others())
    page = await Calls(store).calls(key_id=None, outcome=None, start=None, end=None, limit=1000, cursor="")
    other.cancel()
    assert len(page.calls) == len(made) == sum(turns)
    assert max(turns) <= await largest_block(store)


async def largest_block(store: Store) -> int:
    members = [member for shard in range(names.SHARDS) for member in await store.call("ZRANGE", names.calls(shard), 0, -1)]
    return max(int(member.split(b":")[1]) for member in members)


async def test_no_block_of_one_moment_is_lost(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_HEADERS", 2)
    monkeypatch.setattr(module, "HEADERS", 4)
    spool, folding, made = writer(tmp_path / "spool"), Folding(tmp_path / "spool", store), []
    for number in range(24):
        made.append(request(key_id(1), time=NOW - (60 if number % 8 else 61)))
        write(spool, made[-1])
        await folding.run()
    assert await pages(Calls(store), 5, key_id=key_id(1)) == newest_first(made)


async def test_a_page_goes_on_where_the_last_one_ended_though_calls_come_in(tmp_path: Path, store: Store) -> None:
    made = await filled(tmp_path / "spool", store, 50)
    calls = Calls(store)
    first = await calls.calls(key_id=None, outcome=None, start=None, end=None, limit=20, cursor="")
    spool = writer(tmp_path / "spool")
    write(spool, *(request(key_id(1), time=NOW + 1) for _ in range(5)))
    await Folding(tmp_path / "spool", store).run()
    rest = await calls.calls(key_id=None, outcome=None, start=None, end=None, limit=100, cursor=first.next_cursor)
    assert [event.request_id for event in first.calls + rest.calls] == newest_first(made)


@pytest.mark.parametrize("cursor", ["x", "!!", "Zm9v", "é"])
async def test_a_foreign_cursor_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        await Calls(store).calls(key_id=None, outcome=None, start=None, end=None, limit=10, cursor=cursor)


async def test_the_log_keeps_the_newest(tmp_path: Path, store: Store) -> None:
    made = await filled(tmp_path / "spool", store, 400, rounds=40)
    calls = Calls(store)
    assert await calls.complete_since(None) == 0
    bounds = CallLogBounds(store, max_count=100, max_age=86_400, clock=lambda: NOW)
    dropped = await bounds.trim()
    kept = await pages(calls, 50)
    assert 100 <= len(kept) <= 130
    assert dropped == 400 - len(kept)
    since = await calls.complete_since(None)
    complete = newest_first([event for event in made if event.time > since])
    assert kept[: len(complete)] == complete
    assert await bounds.trim() == 0
    counts = await store.pipeline([("HGET", names.call_blocks(shard), "count") for shard in range(names.SHARDS)])
    assert sum(int(count or 0) for count in counts) == len(kept)


async def test_the_log_keeps_the_newest_though_one_shard_has_more_blocks_than_are_read_at_once(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_bounds, "HEADERS", 2)
    busy, other = key_id(0), next(key_id(n) for n in range(1, 99) if names.shard_of(key_id(n)) != names.shard_of(key_id(0)))
    made = [
        *(request(busy, time=NOW - 100 + number) for number in range(8)),
        *(request(other, time=NOW - 50 + number) for number in range(4)),
    ]
    spool = writer(tmp_path / "spool")
    folding = Folding(tmp_path / "spool", store)
    for event in made:
        write(spool, event)
        await folding.run()
    assert await CallLogBounds(store, max_count=6, max_age=86_400, clock=lambda: NOW).trim() == 6
    assert await pages(Calls(store), 1000) == newest_first(made[6:])


@pytest.fixture
async def flooded(tmp_path: Path, store: Store) -> tuple[list[Request], list[Request]]:
    """Calls of keys, and then many more without one."""
    spool, folding = writer(tmp_path / "spool"), Folding(tmp_path / "spool", store)
    of_keys = [request(key_id(number % 6), time=NOW - 7000 + number) for number in range(90)]
    without = [request("", time=NOW - 3500 + number) for number in range(400)]
    for events in (of_keys, *(without[first : first + 8] for first in range(0, 400, 8))):
        write(spool, *events)
        await folding.run()
    return of_keys, without


async def test_calls_without_a_key_push_out_none_of_a_key(flooded: tuple[list[Request], list[Request]], store: Store) -> None:
    of_keys, without = flooded
    calls = Calls(store)
    assert await pages(calls, 1000) == newest_first(of_keys + without)
    bounds = CallLogBounds(store, max_count=120, max_age=86_400, clock=lambda: NOW)
    await bounds.trim()
    kept = await pages(calls, 1000)
    # The newest, in whole blocks.
    count = len(kept) - len(of_keys)
    assert 30 <= count < 30 + 8
    assert kept == newest_first(of_keys + without[-count:])
    assert await calls.complete_since(None) == 0
    assert await bounds.trim() == 0
    for key in {event.key_id for event in of_keys}:
        assert await pages(calls, 7, key_id=key) == newest_first([event for event in of_keys if event.key_id == key])


async def test_calls_without_a_key_grow_old_too(flooded: tuple[list[Request], list[Request]], store: Store) -> None:
    _, without = flooded
    await CallLogBounds(store, max_count=10_000, max_age=3300, clock=lambda: NOW).trim()
    kept = await pages(Calls(store), 1000)
    assert 200 <= len(kept) < 200 + 8
    assert kept == newest_first(without[-len(kept) :])


async def test_blocks_with_calls_of_keys_and_without_are_read_as_older_versions_left_them(store: Store) -> None:
    made = [request(key, time=NOW - 100 + number) for number, key in enumerate(["", key_id(1), "", key_id(1)])]
    shard = names.shard_of(key_id(1))
    mask = key_mask("") | key_mask(key_id(1))
    await store.call("HSET", names.call_blocks(shard), "next", 1, "count", 4, "1", pack([encode(event) for event in made]))
    await store.call("ZADD", names.calls(shard), repr(made[-1].time), f"1:4:{made[0].time!r}:{mask}")
    assert await pages(Calls(store), 3) == newest_first(made)
    assert await pages(Calls(store), 3, key_id=key_id(1)) == newest_first(made[1::2])
    assert await CallLogBounds(store, max_count=1000, max_age=10, clock=lambda: NOW).trim() == 4


async def test_old_calls_go(tmp_path: Path, store: Store) -> None:
    made = await filled(tmp_path / "spool", store, 100, rounds=50)
    await CallLogBounds(store, max_count=10_000, max_age=3600, clock=lambda: NOW).trim()
    kept = await pages(Calls(store), 50)
    young = newest_first([event for event in made if event.time >= NOW - 3600])
    assert kept[: len(young)] == young
    assert len(kept) < 100


@pytest.mark.parametrize("behind", range(1, 9))
async def test_replicas_that_trim_at_once_drop_no_more_than_one_alone(
    tmp_path: Path, store: Store, behind: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the one has asked of the store before the other trims."""
    await filled(tmp_path / "spool", store, 400, rounds=40)
    one, other = [CallLogBounds(store, max_count=200, max_age=86_400, clock=lambda: NOW) for _ in range(2)]
    pipeline, asked, dropped = store.pipeline, 0, []

    async def meddled(commands: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == behind:
            monkeypatch.setattr(store, "pipeline", pipeline)
            dropped.append(await other.trim())
        return await pipeline(commands)

    monkeypatch.setattr(store, "pipeline", meddled)
    dropped.append(await one.trim())
    assert 200 <= len(await pages(Calls(store), 50)) <= 230
    assert 170 <= sum(dropped) <= 200


async def test_a_replica_whose_clock_is_ahead_drops_nothing(tmp_path: Path, store: Store) -> None:
    made = await filled(tmp_path / "spool", store, 100, rounds=50)
    bounds = CallLogBounds(store, max_count=10_000, max_age=4 * 3600, clock=lambda: NOW + 400 * 86_400)
    assert await bounds.trim() == 0
    assert await pages(Calls(store), 50) == newest_first(made)


def test_blocks_come_back_as_they_were() -> None:
    for records in ([b"a"], [b"x" * 600, b"", b"y"], [bytes(range(256))] * 40):
        assert unpack(pack(records)) == records
    assert len(pack([b"same" * 10] * 100)) < 500


@pytest.mark.parametrize("packed", [b"", b"x", b"\x01not zlib", b"\x02of a newer version", b"\x00\xa1\xff"])
async def test_a_block_that_cannot_be_read_hides_no_other(tmp_path: Path, store: Store, packed: bytes) -> None:
    made = await filled(tmp_path, store, 40, rounds=2)
    shard = names.shard_of(key_id(2))
    lost = {
        event.request_id
        for event in decode_all(unpack(await store.call("HGET", names.call_blocks(shard), 1)))
        if isinstance(event, Request)
    }
    assert lost
    await store.call("HSET", names.call_blocks(shard), 1, packed)
    assert await pages(Calls(store), 7) == [one for one in newest_first(made) if one not in lost]


async def test_a_header_may_say_more_than_this_version_knows(tmp_path: Path, store: Store) -> None:
    made = await filled(tmp_path, store, 40, rounds=2)
    shard = names.shard_of(key_id(2))
    for member, score in await store.call("ZRANGE", names.calls(shard), 0, -1, "WITHSCORES"):
        await store.call("ZREM", names.calls(shard), member)
        await store.call("ZADD", names.calls(shard), score, member + b":of a newer version")
    assert await pages(Calls(store), 7) == newest_first(made)
