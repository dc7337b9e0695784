"""A connection that was closed a moment ago is an outage: uvloop, which the workers run on, says RuntimeError of a write to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import uvloop
from redis.asyncio.connection import AbstractConnection, UnixDomainSocketConnection

from sidecar.store.client import StoreUnavailable, connect
from sidecar.store.errors import translate
from sidecar.store.link import Link
from tests.support.failover import clustered
from tests.support.store import Server, until


def close(connection: AbstractConnection) -> None:
    """As the loop closes it when the server has gone, before anybody has read that."""
    writer: Any = connection._writer
    writer.transport.abort()


def test_a_link_that_was_closed(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.start()

    async def run() -> None:
        connection = UnixDomainSocketConnection(path=str(server.socket), protocol=3)  # type: ignore[no-untyped-call]
        link = await Link.open(connection, timeout=2.0)
        assert await link.exchange([("PING",)], 2.0) == [b"PONG"]
        close(connection)
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await link.exchange([("PING",)], 2.0)
        await link.close()

    try:
        uvloop.run(run())
    finally:
        server.close()


def test_a_node_of_a_cluster_that_was_closed(tmp_path: Path) -> None:
    async def run() -> None:
        async with clustered(tmp_path) as (_, settings):
            store = await connect(settings, tmp_path, timeout=2.0)
            try:
                await until(lambda: store.failure is None, within=10)
                commands: Sequence[tuple[str, str]] = [("GET", f"sidecar:{{u{shard}}}:mark") for shard in range(16)]
                assert await store.pipeline(commands) == [None] * 16
                transport: Any = store._transport
                for node in transport._client.get_primaries():
                    for connection in node._connections:
                        close(connection)
                with pytest.raises(StoreUnavailable, match="cannot be reached"):
                    await store.pipeline(commands)
            finally:
                await store.close()

    uvloop.run(run())


@pytest.mark.parametrize(("message", "logged"), [("<TCPTransport closed=True>; the handler is closed", 0), ("a fault of ours", 1)])
def test_what_is_no_closed_connection_is_told(message: str, logged: int, caplog: pytest.LogCaptureFixture) -> None:
    assert str(translate(RuntimeError(message))) == "the key store cannot be reached"
    assert len(caplog.records) == logged
