"""A primary, its replica and sentinels as real processes: who is asked, and what proves the lease."""

from __future__ import annotations

import contextlib
import shutil
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio.sentinel import SentinelConnectionPool

from sidecar.keys.cache import KeyCache
from sidecar.keys.lookup import Lookup
from sidecar.keys.reader import KeyReader
from sidecar.settings.declaration import Store
from sidecar.settings.values import StoreUrl
from sidecar.store.client import StoreUnavailable
from sidecar.store.server import LOOK_PAUSE
from tests.support.cluster import leased, opened, watched, writes
from tests.support.keys import open_keys, shape
from tests.support.ports import free_port
from tests.support.store import Server, open_store, until


async def test_sentinel_failover(tmp_path: Path) -> None:
    async with watched(tmp_path) as (servers, settings), opened(settings, tmp_path) as store:
        keys = await open_keys(store, tmp_path)
        issued = await keys.repository.create(shape())
        assert await store.durable()
        async with leased(store, keys) as (lease, changes):
            servers[0].kill()
            await until(lambda: not lease.fresh())
            await until(lambda: writes(store))
            await until(lambda: lease.fresh())
            assert changes.count(None) >= 2
            assert await keys.repository.identify(issued.token.encode()) is not None, "lost in a failover"


async def test_a_cut_off_primary_does_not_prove_the_lease(tmp_path: Path) -> None:
    """It still answers reads; what it cannot do is write, once it misses its replica."""
    async with watched(tmp_path, sentinels=1) as (servers, settings), opened(settings, tmp_path) as store:
        primary, replica = servers
        primary.command("CONFIG", "SET", "min-replicas-to-write", "1")
        primary.command("CONFIG", "SET", "min-replicas-max-lag", "1")
        keys = await open_keys(store, tmp_path)
        async with leased(store, keys) as (lease, _):
            replica.kill()
            await until(lambda: not lease.fresh())
            with pytest.raises(StoreUnavailable, match="too few replicas"):
                await store.call("SET", "x", "1")
            assert await store.call("GET", "x") is None


@pytest.mark.parametrize("named", ["the old primary", "its successor, out of reach"])
async def test_a_cut_off_primary_opens_no_key(tmp_path: Path, named: str) -> None:
    """In the smaller part of a parted network it answers, and no sentinel says that there is another one, or nobody gets there."""
    async with watched(tmp_path, sentinels=1) as (servers, settings), opened(settings, tmp_path) as store:
        primary, replica = servers
        for word, value in (("min-replicas-to-write", "1"), ("min-replicas-max-lag", "1")):
            primary.command("CONFIG", "SET", word, value)
        await until(lambda: store.failure is None)
        keys = await open_keys(store, tmp_path)
        issued = await keys.repository.create(shape())
        assert await store.durable()
        async with leased(store, keys) as (lease, _):
            lookup = Lookup(KeyReader(store, keys.adoption), KeyCache(100), lease, keys.digester)
            await until(lambda: _opens(lookup, issued.token.encode()))
            replica.freeze()
            await _revoke_at_successor(replica, tmp_path, issued.key.id)
            if named != "the old primary":
                _turn_to(settings, replica)
            await until(lambda: primary.command("DEL", "nothing").startswith(b"-NOREPLICAS"))
            # A look-up that was late is refused as well: from here on, whatever opens the key is believed without a proof.
            await until(lambda: not lease.fresh())
            for _ in range(20):
                with pytest.raises(StoreUnavailable):
                    await lookup.resolve(issued.token.encode())
                with pytest.raises(StoreUnavailable):
                    await lookup.current(issued.key.id)


async def test_calls_go_where_the_reports_come_from(tmp_path: Path) -> None:
    """A primary that the others have left answers reads. Remembered under the new one's lease, they would never be taken back."""
    async with watched(tmp_path, sentinels=1) as (servers, settings), opened(settings, tmp_path) as store:
        left, new = servers
        keys = await open_keys(store, tmp_path)
        issued = await keys.repository.create(shape())
        assert await store.durable()
        async with leased(store, keys) as (lease, changes):
            del changes[:]
            new.command("REPLICAOF", "NO", "ONE")
            _turn_to(settings, new)
            for word, value in (("min-replicas-to-write", "1"), ("min-replicas-max-lag", "1")):
                left.command("CONFIG", "SET", word, value)
            await until(lambda: None in changes and lease.fresh())
            new.command("SET", "probe", "new")
            assert await store.call("GET", "probe") == b"new"
            assert (await keys.repository.revoke(issued.key.id)).key.revoked_at is not None
            await until(lambda: issued.key.id in changes)


async def test_writes_follow_the_sentinels_without_a_lease(tmp_path: Path) -> None:
    """The fold's connection: nobody tells it of a new primary, and the old one, cut off, ends no connection."""
    async with watched(tmp_path, sentinels=1) as (servers, settings), opened(settings, tmp_path) as store:
        left, new = servers
        assert await writes(store)
        new.command("REPLICAOF", "NO", "ONE")
        _turn_to(settings, new)
        for word, value in (("min-replicas-to-write", "1"), ("min-replicas-max-lag", "1")):
            left.command("CONFIG", "SET", word, value)
        await until(lambda: writes(store))
        new.command("SET", "probe", "new")
        assert await store.call("GET", "probe") == b"new"


async def test_a_primary_that_misses_its_replicas_is_kept_while_the_sentinels_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    ask = SentinelConnectionPool.get_master_address

    async def counted(pool: SentinelConnectionPool) -> Any:
        asked.append(time.monotonic())
        return await ask(pool)  # type: ignore[no-untyped-call]

    async with watched(tmp_path, sentinels=1) as (servers, settings), opened(settings, tmp_path) as store:
        monkeypatch.setattr(SentinelConnectionPool, "get_master_address", counted)
        servers[0].command("CONFIG", "SET", "min-replicas-to-write", "2")

        async def is_refused(times: int) -> bool:
            # Whoever took the answer for a new primary would end the connection, and say so.
            with pytest.raises(StoreUnavailable, match="too few replicas"):
                await store.call("SET", "x", "1")
            return len(asked) >= times

        # When it is asked again, it has answered before.
        await until(lambda: is_refused(3))
        assert all(later - earlier >= LOOK_PAUSE * 0.9 for earlier, later in pairwise(asked))


@pytest.mark.parametrize("first", ["the one that knows", "the one that was cut off", "none at all"])
async def test_the_sentinel_that_knows_of_the_latest_failover_is_believed(tmp_path: Path, first: str) -> None:
    """In whichever order they are named: one that was cut off with the old primary answers as before."""
    left, new = (Server(tmp_path / name, tcp=True) for name in ("left", "new"))
    knows, cut_off = (Server(tmp_path / name, tcp=True, sentinel=True) for name in ("knows", "cut-off"))
    try:
        for server in (left, new):
            server.start()
        for watcher, primary, epoch in ((cut_off, left, 1), (knows, new, 2)):
            (watcher.directory / "sentinel.conf").write_text(
                f"sentinel monitor keys 127.0.0.1 {primary.port} 1\nsentinel config-epoch keys {epoch}\n"
            )
            watcher.start()
        named = {
            "the one that knows": [knows, cut_off],
            "the one that was cut off": [cut_off, knows],
            "none at all": [new, cut_off, knows],
        }[first]
        hosts = ",".join(f"127.0.0.1:{watcher.port}" for watcher in named)
        settings = Store(url=StoreUrl.parse(f"redis+sentinel://{hosts}/keys"))
        async with opened(settings, tmp_path) as store:
            await until(lambda: writes(store))
            assert new.command("EXISTS", "probe") == b":1\r\n"
        knows.kill()
        async with opened(settings, tmp_path) as store:
            await until(lambda: writes(store))
            assert left.command("EXISTS", "probe") == b":1\r\n", "better than none"
    finally:
        for server in (left, new, knows, cut_off):
            server.close()


async def test_a_server_that_became_a_replica_opens_no_key(tmp_path: Path) -> None:
    """Behind `redis://` too, where a name or a balancer leads to whichever is the primary: what it has not heard of was revoked elsewhere."""
    server = Server(tmp_path / "store", tcp=True)
    server.start()
    try:
        async with opened(server.settings(), tmp_path) as store:
            keys = await open_keys(store, tmp_path)
            issued = await keys.repository.create(shape())
            token = issued.token.encode()
            async with leased(store, keys) as (lease, _):
                lookup = Lookup(KeyReader(store, keys.adoption), KeyCache(100), lease, keys.digester)
                await until(lambda: _opens(lookup, token))
                server.command("REPLICAOF", "127.0.0.1", str(free_port()))
                await until(lambda: not lease.fresh())
                # By then each connection to it has been left, and none is made anew.
                await until(lambda: store.failure is not None)
                for _ in range(20):
                    with pytest.raises(StoreUnavailable, match="read-only"):
                        await lookup.resolve(token)
                server.command("REPLICAOF", "NO", "ONE")
                await until(lambda: _opens(lookup, token))
                await until(lease.fresh)
    finally:
        server.close()


async def _revoke_at_successor(replica: Server, directory: Path, key_id: str) -> None:
    """Let what `replica` has on its disk be promoted where none of the others gets to, and revoke a key there."""
    shutil.copytree(replica.directory, directory / "successor")
    successor = Server(directory / "successor", tcp=True)
    successor.start()
    try:
        store = await open_store(successor, timeout=2.0)
        keys = await open_keys(store, directory)
        assert (await keys.repository.revoke(key_id)).key.revoked_at is not None
        await store.close()
    finally:
        successor.close()


async def _opens(lookup: Lookup, token: bytes) -> bool:
    with contextlib.suppress(StoreUnavailable):  # a busy machine answers late
        return await lookup.resolve(token) is not None
    return False


def _sentinel_port(settings: Store) -> int:
    return int(settings.url.reveal().rpartition("/")[0].rpartition(":")[2])


def _turn_to(settings: Store, primary: Server) -> None:
    """Let the one sentinel name `primary`, as the majority of a parted network would."""
    watcher = Server(primary.directory, port=_sentinel_port(settings))
    watcher.command("SENTINEL", "REMOVE", "keys")
    assert watcher.command("SENTINEL", "MONITOR", "keys", "127.0.0.1", str(primary.port), "1") == b"+OK\r\n"
    watcher.close()
