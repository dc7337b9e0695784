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


def test_a_connection_that_another_task_closes_while_it_is_greeted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """redis-py then writes to None: seen while primaries of a cluster died under load."""
    greet = AbstractConnection.connect_check_health

    async def greet_and_lose(connection: AbstractConnection, **options: Any) -> None:
        await greet(connection, **options)
        close(connection)
        connection._writer = None

    async def run() -> None:
        async with clustered(tmp_path) as (_, settings):
            store = await connect(settings, tmp_path, timeout=2.0)
            try:
                await until(lambda: store.failure is None, within=10)
                monkeypatch.setattr(AbstractConnection, "connect_check_health", greet_and_lose)
                transport: Any = store._transport
                for node in transport._client.get_primaries():
                    for connection in node._connections:
                        await connection.disconnect(nowait=True)
                for exchange in (store.call("GET", "x"), store.pipeline([("GET", "x"), ("GET", "y")])):
                    with pytest.raises(StoreUnavailable, match="cannot be reached"):
                        await exchange
            finally:
                monkeypatch.undo()
                await store.close()

    uvloop.run(run())


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (RuntimeError("<TCPTransport closed=True>; the handler is closed"), 0),
        (ConnectionResetError(), 0),
        (AttributeError("writelines"), 1),
    ],
)
def test_what_is_unknown_is_told_in_the_log(error: Exception, logged: int, caplog: pytest.LogCaptureFixture) -> None:
    assert str(translate(error)) == "the key store cannot be reached"
    assert len(caplog.records) == logged
