"""Redis 7.0, as Debian 12 ships it: older than WAITAOF, and over TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.keys.cache import KeyCache
from sidecar.keys.lease import Lease
from sidecar.settings import declaration
from sidecar.settings.values import Secret, StoreUrl
from sidecar.store.client import StoreUnavailable, connect
from tests.support.certificates import LOCAL, self_signed
from tests.support.keys import open_keys, shape
from tests.support.ports import free_port
from tests.support.store import Server, open_store, until
from tests.support.tools import require


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Server]:
    require("redis-server", install="apt-get install redis-server")
    server = Server(tmp_path / "redis", flavour="redis", arguments=["--requirepass", "s3cret"])
    server.password = "s3cret"
    server.start()
    yield server
    server.close()


async def test_keys_live_on_redis_7_too(redis: Server, tmp_path: Path) -> None:
    store = await open_store(redis, timeout=2.0)
    keys = await open_keys(store, tmp_path)
    changes: list[str | None] = []
    lease = Lease(store, keys.adoption, KeyCache(100), changes.append)
    task = asyncio.create_task(lease.run())
    try:
        await until(lease.fresh)
        issued = await keys.repository.create(shape())
        await until(lambda: issued.key.id in changes)
        assert await keys.repository.identify(issued.token.encode()) is not None
        assert not (await keys.repository.revoke(issued.key.id)).durable, "it cannot say so"
        await store.call("CONFIG", "SET", "appendfsync", "always")
        assert (await keys.repository.revoke(issued.key.id)).durable
    finally:
        task.cancel()
        await asyncio.wait([task])
        await store.close()


async def test_a_wrong_password_is_an_outage_with_advice(redis: Server, tmp_path: Path) -> None:
    settings = declaration.Store(url=StoreUrl.parse(redis.url), password=Secret("wrong"))
    store = await connect(settings, tmp_path)
    try:
        await until(lambda: "set store.password" in str(store.failure))
        with pytest.raises(StoreUnavailable, match="password") as caught:
            await store.call("PING")
        assert "wrong" not in str(caught.value)
    finally:
        await store.close()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate for this machine and its key."""
    return self_signed(tmp_path, *LOCAL)


def tls_options(certificate: tuple[Path, Path], port: int) -> list[str]:
    """What a server is told to speak TLS on `port`, to whoever comes."""
    authority, key = (str(path) for path in certificate)
    files = ["--tls-cert-file", authority, "--tls-key-file", key, "--tls-ca-cert-file", authority]
    return ["--tls-port", str(port), *files, "--tls-auth-clients", "no"]


async def test_tls_is_verified(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    require("redis-server", install="apt-get install redis-server")
    port = free_port()
    server = Server(tmp_path / "tls", flavour="redis", arguments=tls_options(certificate, port))
    server.start()
    try:
        trusting = await connect(
            declaration.Store(url=StoreUrl.parse(f"rediss://localhost:{port}?ca_file={certificate[0]}")), tmp_path, timeout=3.0
        )
        assert await trusting.call("PING") == b"PONG"
        await trusting.close()
        doubting = await connect(declaration.Store(url=StoreUrl.parse(f"rediss://localhost:{port}")), tmp_path)
        await until(lambda: "certificate is not accepted" in str(doubting.failure))
        with pytest.raises(StoreUnavailable):
            await doubting.call("PING")
        await doubting.close()
    finally:
        server.close()


async def test_sentinels_are_asked_by_tls_too(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    require("redis-server", install="apt-get install redis-server")
    port, asked = free_port(), free_port()
    primary = Server(tmp_path / "primary", flavour="redis", arguments=tls_options(certificate, port))
    watching = [*tls_options(certificate, asked), "--tls-replication", "yes"]
    sentinel = Server(tmp_path / "sentinel", flavour="redis", tcp=True, sentinel=True, arguments=watching)
    (sentinel.directory / "sentinel.conf").write_text(f"sentinel monitor keys 127.0.0.1 {port} 1\n")
    try:
        primary.start()
        sentinel.start()
        query = f"tls=true&ca_file={certificate[0]}"
        for where in (f"127.0.0.1:{asked}/keys?{query}", f"127.0.0.1:{sentinel.port}/keys?{query}&sentinel_tls=false"):
            store = await connect(declaration.Store(url=StoreUrl.parse(f"redis+sentinel://{where}")), tmp_path, timeout=3.0)
            assert await store.call("PING") == b"PONG"
            await store.close()
    finally:
        sentinel.close()
        primary.close()
