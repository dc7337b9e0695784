"""A primary that may have been replaced: what it says counts only as long as it takes writes, and nobody else pays for that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import NoPermissionError, ReadOnlyError, ResponseError

from sidecar.keys.cache import KeyCache
from sidecar.keys.lease import Lease
from sidecar.keys.lookup import Lookup
from sidecar.keys.reader import KeyReader
from sidecar.keys.repository import Issued
from sidecar.keys.token import generate
from sidecar.store import names
from sidecar.store.client import PROOF, Store, StoreUnavailable, Transport
from sidecar.store.endpoint import Endpoint
from sidecar.store.link import Command
from tests.support.keys import Keys, open_keys, shape
from tests.support.store import until

TOO_FEW = ResponseError("NOREPLICAS Not enough good replicas to write.")
DISK_FULL = ResponseError("MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to persist to disk.")


class CutOff(Transport):
    """Answers every command as the server does, but for those that write: these are refused with `refusal`, if there is one."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.refusal: Exception | None = None
        self.asked: list[Command] = []

    @property
    def failure(self) -> StoreUnavailable | None:
        return self._transport.failure

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        self.asked += commands
        replies = await self._transport.exchange(commands)
        writes = [self.refusal is not None and command[0] in ("DEL", "SET") for command in commands]
        return [self.refusal if written else reply for written, reply in zip(writes, replies, strict=True)]

    async def endpoints(self) -> list[Endpoint]:
        return await self._transport.endpoints()

    async def close(self) -> None: ...


class Now:
    """A clock for leases."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def keys(store: Store, tmp_path: Path) -> Keys:
    return await open_keys(store, tmp_path)


@pytest.fixture
async def issued(keys: Keys) -> Issued:
    return await keys.repository.create(shape())


@pytest.fixture
async def server(keys: Keys) -> CutOff:
    return CutOff(keys.store._transport)


def looked_up_at(server: CutOff, keys: Keys, *, fails_over: bool = True, max_stale: float = 0.0) -> tuple[Lookup, Lease, Now]:
    """A worker's look-up at `server`, its lease, which nobody renews, and that lease's clock."""
    store = Store(server, fails_over=fails_over)
    cache, clock = KeyCache(100), Now()
    lease = Lease(store, keys.adoption, cache, lambda _: None, clock=clock)
    return Lookup(KeyReader(store, keys.adoption), cache, lease, keys.digester, max_stale=max_stale), lease, clock


@pytest.mark.parametrize(
    ("refusal", "opens"),
    [
        (None, True),
        (TOO_FEW, False),
        (ReadOnlyError("You can't write against a read only replica."), False),
        (NoPermissionError("this user has no permissions to run the 'del' command"), False),
        (DISK_FULL, True),
    ],
    ids=["takes writes", "misses its replicas", "is a replica", "shows nothing", "cannot save"],
)
async def test_who_may_have_been_replaced_opens_keys_only_while_it_takes_writes(
    server: CutOff, keys: Keys, issued: Issued, refusal: Exception | None, opens: bool
) -> None:
    lookup, lease, _ = looked_up_at(server, keys)
    server.refusal = refusal
    assert not lease.fresh()
    if opens:
        found = await lookup.resolve(issued.token.encode())
        assert found is not None and found.key == issued.key
        assert await lookup.current(issued.key.id) == issued.key
        return
    for token in (issued.token, generate("ahk")):
        with pytest.raises(StoreUnavailable):
            await lookup.resolve(token.encode())
    with pytest.raises(StoreUnavailable):
        await lookup.current(issued.key.id)


@pytest.mark.parametrize("fails_over", [True, False])
@pytest.mark.parametrize("fresh", [True, False])
async def test_the_proof_costs_one_command_a_trip_and_only_where_it_is_needed(
    server: CutOff, keys: Keys, issued: Issued, fails_over: bool, fresh: bool
) -> None:
    lookup, lease, clock = looked_up_at(server, keys, fails_over=fails_over)
    if fresh:
        lease._proven_at = clock.now
    proof = [PROOF] if fails_over and not fresh else []
    digest = keys.digester.primary(issued.token.encode())
    record: list[Command] = [keys.adoption.question, ("HGET", names.key(issued.key.id), "record")]
    await lookup.resolve(issued.token.encode())
    await lookup.current(issued.key.id)
    assert server.asked == [*proof, keys.adoption.question, ("GET", names.digest(digest)), *proof, *record, *proof, *record]


async def test_the_proof_changes_nothing(keys: Keys) -> None:
    assert await keys.store.call(*PROOF) == 0
    assert not str(PROOF[1]).startswith(names.TRACKED_PREFIXES)


async def test_a_full_memory_does_not_hide_that_the_replicas_are_missing(keys: Keys) -> None:
    """A server says that it is out of memory first, of commands that take some."""
    await keys.store.call("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreUnavailable, match="out of memory"):
        await keys.store.call("SET", "a", "1")
    assert await keys.store.call(*PROOF) == 0
    await keys.store.call("CONFIG", "SET", "min-replicas-to-write", "1")
    with pytest.raises(StoreUnavailable, match="out of memory"):
        await keys.store.call("SET", "a", "1")
    with pytest.raises(StoreUnavailable, match="too few replicas"):
        await keys.store.call(*PROOF)


async def test_serve_cached_bridges_it_as_any_outage(server: CutOff, keys: Keys, issued: Issued) -> None:
    lookup, lease, clock = looked_up_at(server, keys, max_stale=60.0)
    lease._proven_at = clock.now
    token = issued.token.encode()
    found = await lookup.resolve(token)
    server.refusal = TOO_FEW
    clock.now += 60.0
    assert await lookup.resolve(token) == found
    clock.now += 0.1
    with pytest.raises(StoreUnavailable, match="too few replicas"):
        await lookup.resolve(token)


async def test_a_lease_does_not_begin_where_no_writes_are_taken(server: CutOff, keys: Keys, caplog: pytest.LogCaptureFixture) -> None:
    """What is remembered would be forgotten, and open requests be looked at again, ten times a second and to no end."""
    changes: list[str | None] = []
    lease = Lease(Store(server, fails_over=True), keys.adoption, KeyCache(100), changes.append)
    server.refusal = TOO_FEW
    task = asyncio.create_task(lease.run())
    try:
        await until(lambda: server.asked.count(PROOF) >= 3)
        assert changes == [] and not lease.fresh()
        assert [record.levelname for record in caplog.records if "too few replicas" in record.message].count("WARNING") == 1
        server.refusal = None
        await until(lease.fresh)
        assert set(changes) == {None}
    finally:
        task.cancel()
        await asyncio.wait([task])
