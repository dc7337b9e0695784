"""Sets of servers for tests: a Redis Cluster, and a primary with a replica watched by sentinels."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from sidecar.keys.cache import KeyCache
from sidecar.keys.lease import Lease
from sidecar.settings import declaration
from sidecar.settings.values import StoreUrl
from sidecar.store.client import Store, StoreUnavailable, connect
from tests.support.keys import Keys
from tests.support.ports import ABOVE, free_port
from tests.support.store import Server, until

SLOTS = 16384


@contextlib.asynccontextmanager
async def cluster(directory: Path, replicas: bool = False) -> AsyncIterator[list[Server]]:
    """Three primaries, each with a replica behind them in the list if `replicas`."""
    size = 3
    count = size * 2 if replicas else size
    servers = []
    for number in range(count):
        arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-config-file", f"nodes-{number}.conf"]
        arguments += ["--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0"]
        servers.append(Server(directory / f"node{number}", tcp=True, port=free_port(also=ABOVE), arguments=arguments))
    try:
        for server in servers:
            server.start()
        ids = [node_id(server) for server in servers]
        for number, server in enumerate(servers[:size]):
            server.command("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
            server.command("CLUSTER", "ADDSLOTSRANGE", str(SLOTS * number // size), str(SLOTS * (number + 1) // size - 1))
        for server in servers[1:]:
            servers[0].command("CLUSTER", "MEET", "127.0.0.1", str(server.port))
        await until(lambda: all(b"cluster_known_nodes:%d" % count in server.command("CLUSTER", "INFO") for server in servers))
        for primary, server in zip(ids, servers[size:], strict=False):
            await until(partial(_replicates, server, primary))
        await until(lambda: all(b"cluster_state:ok" in server.command("CLUSTER", "INFO") for server in servers))
        yield servers
    finally:
        for server in servers:
            server.close()


def cluster_settings(servers: list[Server]) -> declaration.Store:
    """Store settings for the cluster."""
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return declaration.Store(url=StoreUrl.parse(f"redis+cluster://{hosts}"))


@contextlib.asynccontextmanager
async def watched(directory: Path, sentinels: int = 3) -> AsyncIterator[tuple[list[Server], declaration.Store]]:
    """A primary, its replica, and `sentinels` that fail over after a second; the settings lead to the primary."""
    primary = Server(directory / "primary", tcp=True, arguments=["--repl-diskless-sync-delay", "0"])
    servers = [primary]
    watchers = []
    try:
        primary.start()
        replica = Server(directory / "replica", tcp=True, arguments=["--replicaof", "127.0.0.1", str(primary.port)])
        servers.append(replica)
        replica.start()
        await until(lambda: b"master_link_status:up" in replica.command("INFO", "replication"))
        for number in range(sentinels):
            watcher = Server(directory / f"sentinel{number}", tcp=True, sentinel=True)
            (watcher.directory / "sentinel.conf").write_text(
                f"sentinel monitor keys 127.0.0.1 {primary.port} {sentinels // 2 + 1}\n"
                "sentinel down-after-milliseconds keys 1000\nsentinel failover-timeout keys 4000\n"
            )
            watchers.append(watcher)
            watcher.start()
        await until(lambda: all(b"num-other-sentinels" in w.command("SENTINEL", "MASTER", "keys") for w in watchers))
        await until(lambda: all(b"num-slaves\r\n$1\r\n1" in w.command("SENTINEL", "MASTER", "keys") for w in watchers))
        others = b"num-other-sentinels\r\n$1\r\n%d" % (sentinels - 1)
        await until(lambda: all(others in w.command("SENTINEL", "MASTER", "keys") for w in watchers))
        hosts = ",".join(f"127.0.0.1:{watcher.port}" for watcher in watchers)
        yield servers, declaration.Store(url=StoreUrl.parse(f"redis+sentinel://{hosts}/keys"))
    finally:
        for server in [*servers, *watchers]:
            server.close()


def _replicates(server: Server, primary: str) -> bool:
    server.command("CLUSTER", "REPLICATE", primary)
    return b"master_link_status:up" in server.command("INFO", "replication")


def _text(reply: bytes) -> str:
    return reply.split(b"\r\n")[1].decode()


def node_id(server: Server) -> str:
    """Under which name the others know it."""
    return _text(server.command("CLUSTER", "MYID"))


def owner(servers: list[Server], name: str) -> int:
    """Which of the servers of `cluster` holds `name`."""
    slot = int(servers[0].command("CLUSTER", "KEYSLOT", name)[1:-2])
    return slot * len(servers) // SLOTS


def move_slot(source: Server, target: Server, slot: int, keys: list[str]) -> None:
    """Begin to move `slot`, and its `keys`."""
    assert target.command("CLUSTER", "SETSLOT", str(slot), "IMPORTING", node_id(source)) == b"+OK\r\n"
    assert source.command("CLUSTER", "SETSLOT", str(slot), "MIGRATING", node_id(target)) == b"+OK\r\n"
    for name in keys:
        assert source.command("MIGRATE", "127.0.0.1", str(target.port), name, "0", "5000") == b"+OK\r\n"


@contextlib.asynccontextmanager
async def opened(settings: declaration.Store, directory: Path) -> AsyncIterator[Store]:
    """A Store of `settings`."""
    store = await connect(settings, directory, timeout=0.5)
    try:
        yield store
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def leased(store: Store, keys: Keys) -> AsyncIterator[tuple[Lease, list[str | None]]]:
    """A lease that is held, and the changes that it reported."""
    changes: list[str | None] = []
    lease = Lease(store, keys.adoption, KeyCache(100), changes.append)
    task = asyncio.create_task(lease.run())
    try:
        await until(lease.fresh)
        yield lease, changes
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=10.0)
        assert task.done(), "a lease that is cancelled ends"


async def writes(store: Store, name: str = "probe") -> bool:
    """Whether `name` can be written."""
    try:
        return bool(await store.call("SET", name, "1") == b"OK")
    except StoreUnavailable:
        return False
