"""The store client against real servers, healthy and not."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import NoScriptError

from sidecar.store.client import Script, Store, StoreRefused, StoreUnavailable, connect
from sidecar.store.endpoint import Endpoint
from sidecar.store.link import Command
from tests.support.store import Link, Server, open_store, until

ECHO = Script("echo", "return {KEYS[1], ARGV[1]}")
FAIL = Script("fail", "return redis.error_reply('ERR nope')")

DEADLINE = 5.0


async def is_up(store: Store) -> bool:
    try:
        await store.call("PING")
    except StoreUnavailable:
        return False
    return True


async def test_commands_pipelines_and_scripts(store: Store) -> None:
    assert await store.call("SET", "a", "1") == b"OK"
    assert await store.pipeline([("GET", "a"), ("HSET", "h", "f", "v"), ("HGETALL", "h"), ("GET", "missing")]) == [
        b"1",
        1,
        {b"f": b"v"},
        None,
    ]
    assert await store.pipeline([]) == await store.pipeline_each([]) == []
    value, refused, after = await store.pipeline_each([("GET", "a"), ("LPUSH", "a", "1"), ("GET", "a")])
    assert value == after == b"1" and isinstance(refused, StoreRefused)
    assert await store.run(ECHO, ["k"], ["v"]) == [b"k", b"v"]
    replies = await store.run_many([(ECHO, ["k"], [1]), (FAIL, [], []), (ECHO, ["k"], [2])])
    assert replies[0] == [b"k", b"1"]
    assert isinstance(replies[1], StoreUnavailable)
    assert replies[2] == [b"k", b"2"]


async def test_a_forgotten_script_is_sent_again(store: Store) -> None:
    await store.run(ECHO, ["k"], ["v"])
    await store.call("SCRIPT", "FLUSH")
    assert await store.run_many([(ECHO, ["k"], [n]) for n in range(3)]) == [[b"k", str(n).encode()] for n in range(3)]


async def test_what_was_run_is_told_when_the_store_is_away_before_a_script_is_sent_again() -> None:
    """Or else whoever asked for it, and has it, would take it for failed."""

    class Transport:
        failure = None

        def __init__(self) -> None:
            self.trips: list[list[Any]] = [[b"run", NoScriptError("NOSCRIPT"), StoreUnavailable("this server")]]

        async def exchange(self, commands: Sequence[Command]) -> list[Any]:
            if not self.trips:
                raise StoreUnavailable("away")
            return self.trips.pop()

        async def endpoints(self) -> list[Endpoint]:
            return []

        async def close(self) -> None: ...

    first, *rest = await Store(Transport(), fails_over=False).run_many([(ECHO, ["k"], [n]) for n in range(3)])
    assert first == b"run"
    assert [(type(one), str(one)) for one in rest] == [(StoreUnavailable, "away"), (StoreUnavailable, "this server")]


async def test_replies_find_their_callers(store: Store) -> None:
    async def roundtrip(number: int) -> None:
        assert await store.pipeline([("SET", f"k{number}", number), ("GET", f"k{number}")]) == [b"OK", str(number).encode()]

    await asyncio.gather(*(roundtrip(number) for number in range(300)))


async def test_a_caller_that_leaves_takes_no_reply_of_another(store: Store) -> None:
    async def leave(number: int) -> None:
        task = asyncio.create_task(store.call("ECHO", f"gone{number}"))
        await asyncio.sleep(0)
        task.cancel()

    for number in range(50):
        await leave(number)
        assert await store.call("ECHO", f"here{number}") == f"here{number}".encode()


async def test_a_refused_command_says_so_without_its_arguments(store: Store) -> None:
    await store.call("SET", "text", "secret-value")
    with pytest.raises(StoreRefused) as caught:
        await store.call("HGET", "text", "secret-value")
    assert "secret-value" not in str(caught.value)
    assert caught.value.code == "WRONGTYPE"


async def test_a_dead_store_does_not_hold_up_the_start(tmp_path: Path) -> None:
    server = Server(tmp_path / "dead")
    # It goes on trying for ever, but not while the caller waits.
    async with asyncio.timeout(10):
        store = await connect(server.settings(), tmp_path)
    with pytest.raises(StoreUnavailable):
        await store.call("PING")
    server.start()
    try:
        await until(lambda: is_up(store))
    finally:
        await store.close()
        server.close()


@pytest.fixture
async def patient(valkey: Server) -> AsyncIterator[Store]:
    """A Store with a deadline that nobody can overlook, `DEADLINE` seconds."""
    store = await open_store(valkey, timeout=DEADLINE)
    yield store
    await store.close()


async def test_a_killed_store_fails_fast_and_is_found_again(valkey: Server, patient: Store) -> None:
    valkey.kill()
    begin = time.monotonic()
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await patient.call("GET", "a")
    assert time.monotonic() - begin < DEADLINE, "one of them waited"
    valkey.start()
    await until(lambda: is_up(patient))


async def says_one(store: Store) -> bool:
    with contextlib.suppress(StoreUnavailable):
        return await store.call("GET", "a") == b"1"
    return False


async def test_a_store_whose_disk_fails_is_believed_by_whoever_connects_then(valkey: Server, patient: Store) -> None:
    """It answers even PING with an error, but reads as before; of writes it says why it takes none."""
    await patient.call("SET", "a", "1")
    with valkey.unable_to_save():
        newcomer = await open_store(valkey, timeout=DEADLINE)
        # A connection that ended is made anew in the same way.
        valkey.command("CLIENT", "KILL", "TYPE", "normal")
        for store in (newcomer, patient):
            await until(partial(says_one, store))
            with pytest.raises(StoreUnavailable, match="cannot write to its disk"):
                await store.call("SET", "a", "2")
        await newcomer.close()
    assert await patient.call("SET", "a", "2") == b"OK"


async def test_a_frozen_store_costs_one_deadline_and_then_nothing(valkey: Server, patient: Store) -> None:
    valkey.freeze()
    begin = time.monotonic()
    results = await asyncio.gather(*(patient.call("GET", "a") for _ in range(20)), return_exceptions=True)
    assert all(isinstance(result, StoreUnavailable) for result in results)
    assert DEADLINE <= time.monotonic() - begin < 2 * DEADLINE, "one waited for another"
    begin = time.monotonic()
    for _ in range(1000):
        with pytest.raises(StoreUnavailable):
            await patient.call("GET", "a")
    assert time.monotonic() - begin < DEADLINE, "one of them waited"
    valkey.thaw()
    await until(lambda: is_up(patient))


async def test_a_slow_answer_does_not_cost_the_link(store: Store) -> None:
    before = await store.call("CLIENT", "ID")
    with pytest.raises(StoreUnavailable):
        # Longer than the deadline, not so long that the link is given up.
        await store.call("DEBUG", "SLEEP", "2.4")
    await until(lambda: is_up(store))
    assert await store.call("CLIENT", "ID") == before


@pytest.fixture
async def link(valkey: Server) -> AsyncIterator[Link]:
    link = Link(valkey)
    await link.start()
    yield link
    await link.close()


async def test_a_black_hole_is_left_and_healed(link: Link, tmp_path: Path) -> None:
    store = await connect(link.settings(), tmp_path, timeout=2.0)
    assert await is_up(store)
    link.black_hole()
    async with asyncio.timeout(10):
        with pytest.raises(StoreUnavailable):
            await store.call("PING")
    link.heal()
    await until(lambda: is_up(store))
    await store.close()


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [("maxmemory", "1", "out of memory"), ("min-replicas-to-write", "1", "too few replicas"), ("requirepass", "x", "password")],
)
async def test_an_unhealthy_store_says_what_to_do(valkey: Server, store: Store, setting: str, value: str, says: str) -> None:
    await store.call("CONFIG", "SET", setting, value)
    other = await connect(valkey.settings(), valkey.directory, timeout=2.0)
    await until(lambda: setting != "requirepass" or "password" in str(other.failure))
    try:
        with pytest.raises(StoreUnavailable, match=says):
            await other.call("SET", "a", "1")
        if setting == "maxmemory":
            assert await other.call("GET", "a") is None
    finally:
        await other.close()


async def test_durable_waits_for_the_disk(store: Store) -> None:
    await store.call("SET", "a", "1")
    assert await store.durable()


async def test_durable_is_false_without_disk_and_replica(tmp_path: Path) -> None:
    server = Server(tmp_path / "memory", append_only=False)
    server.start()
    store = await open_store(server, timeout=2.0)
    assert not await store.durable()
    replica = Server(tmp_path / "replica", tcp=True, append_only=False, arguments=["--replicaof", "127.0.0.1", "1"])
    await store.close()
    replica.close()
    server.close()


async def test_durable_waits_for_a_replica(tmp_path: Path) -> None:
    server = Server(tmp_path / "primary", tcp=True, append_only=False, arguments=["--repl-diskless-sync-delay", "0"])
    server.start()
    replica = Server(tmp_path / "replica", tcp=True, append_only=False, arguments=["--replicaof", "127.0.0.1", str(server.port)])
    replica.start()
    store = await open_store(server, timeout=2.0)
    try:
        await until(lambda: b"master_link_status:up" in replica.command("INFO", "replication"))
        assert await store.durable()
        replica.freeze()
        assert not await store.durable()
    finally:
        await store.close()
        replica.close()
        server.close()
