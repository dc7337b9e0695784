"""Replies find those who asked, however they arrive; and a connection that was closed a moment ago is an outage.

uvloop, which the workers run on, says RuntimeError of a write to such a connection.
"""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop
from redis.asyncio.connection import AbstractConnection, UnixDomainSocketConnection
from redis.exceptions import ResponseError

from sidecar.store.client import Store, StoreUnavailable, connect
from sidecar.store.errors import translate
from sidecar.store.link import Command, Link, PushHandler
from tests.support.failover import clustered
from tests.support.store import Server, open_store, until


class Wire:
    """Stands for the socket of a connection: keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.is_aborted = False

    def set_protocol(self, protocol: asyncio.Protocol) -> None: ...

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.is_aborted = True


def wired(on_push: PushHandler | None = None, early: bytes = b"") -> tuple[Link, Wire]:
    """A link on a `Wire`; `early` is what arrived before it had the socket."""
    wire, connection = Wire(), UnixDomainSocketConnection(path="", protocol=3)  # type: ignore[no-untyped-call]
    streams: Any = connection
    streams._reader, streams._writer = SimpleNamespace(_buffer=bytearray(early)), SimpleNamespace(transport=wire)
    return Link(connection, on_push), wire


ANSWERS = (
    b"+OK\r\n"
    b">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"
    b"-WRONGTYPE no\r\n"
    b">2\r\n$10\r\ninvalidate\r\n_\r\n"
    b"%1\r\n$1\r\nk\r\n:7\r\n"
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(ANSWERS)])
async def test_replies_and_reports_are_told_apart_wherever_they_are_cut(size: int) -> None:
    reports: list[object] = []
    link, wire = wired(reports.append)
    first = asyncio.create_task(link.exchange([("SET", "k", 1), ("LLEN", "k")], 5.0))
    second = asyncio.create_task(link.exchange([("HGETALL", "h")], 5.0))
    await asyncio.sleep(0)
    assert wire.written == b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n1\r\n*2\r\n$4\r\nLLEN\r\n$1\r\nk\r\n*2\r\n$7\r\nHGETALL\r\n$1\r\nh\r\n"
    for at in range(0, len(ANSWERS), size):
        link.data_received(ANSWERS[at : at + size])
    ok, refused = await first
    assert ok == b"OK" and isinstance(refused, ResponseError)
    assert await second == [{b"k": 7}]
    assert reports == [[b"a", b"b"], None]


async def test_a_caller_that_leaves_keeps_its_place_in_the_queue() -> None:
    link, _ = wired()
    gone, late = asyncio.create_task(link.exchange([("A",)], 5.0)), asyncio.create_task(link.exchange([("B",)], 0.001))
    stays = asyncio.create_task(link.exchange([("C",)], 5.0))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(StoreUnavailable, match="in time"):
        await late
    link.data_received(b":1\r\n:2\r\n:3\r\n")
    assert await stays == [3]
    assert gone.cancelled() and link.failure is None


async def test_what_arrived_before_the_socket_was_taken_is_not_lost() -> None:
    reports: list[object] = []
    wired(reports.append, early=b">2\r\n$10\r\ninvalidate\r\n_\r\n")
    assert reports == [None]


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"?garbage\r\n", id="no RESP"),
        pytest.param(b"-NOAUTH Authentication required.\r\n", id="wants a greeting again"),
        pytest.param(b"", id="hangs up"),
    ],
)
async def test_a_server_that_makes_no_sense_is_an_outage(said: bytes) -> None:
    link, wire = wired()
    asked = asyncio.create_task(link.exchange([("PING",)], 5.0))
    await asyncio.sleep(0)
    link.data_received(said) if said else link.connection_lost(None)
    with pytest.raises(StoreUnavailable):
        await asked
    assert wire.is_aborted
    with pytest.raises(StoreUnavailable):
        await link.exchange([("PING",)], 5.0)


async def test_a_reply_that_nobody_asked_for_ends_the_link() -> None:
    """From then on every reply would go to the wrong caller."""
    link, wire = wired()
    link.data_received(b":1\r\n")
    assert wire.is_aborted and link.failure is not None


def close(connection: AbstractConnection) -> None:
    """As the loop closes it when the server has gone, before anybody has read that."""
    writer: Any = connection._writer
    writer.transport.abort()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.start()
    yield server
    server.close()


@contextmanager
def no_socket_left() -> Iterator[None]:
    gc.collect()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    assert [str(each.message) for each in warned] == []


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_closed_link_leaves_no_socket(run: Callable[[Any], None], server: Server) -> None:
    async def leave() -> None:
        link = await Link.open(UnixDomainSocketConnection(path=str(server.socket), protocol=3), timeout=2.0)  # type: ignore[no-untyped-call]
        assert await link.exchange([("PING",)], 2.0) == [b"PONG"]
        for _ in range(2):
            await link.close()

    with no_socket_left():
        run(leave())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_store_that_is_closed_while_it_mends_its_link_leaves_no_socket(run: Callable[[Any], None], server: Server) -> None:
    async def leave() -> None:
        store = await open_store(server, timeout=0.1)
        server.freeze()
        with pytest.raises(StoreUnavailable):
            await store.call("PING")
        tracking = asyncio.create_task(store.track(["a"], lambda _: None, ("PING",)))
        await asyncio.sleep(0)
        tracking.cancel()
        await asyncio.gather(tracking, return_exceptions=True)
        # The mending asks the frozen server for a second, over the link that was in use.
        await store.close()

    try:
        with no_socket_left():
            run(leave())
    finally:
        server.thaw()


def test_a_link_that_was_closed(server: Server) -> None:
    async def run() -> None:
        connection = UnixDomainSocketConnection(path=str(server.socket), protocol=3)  # type: ignore[no-untyped-call]
        link = await Link.open(connection, timeout=2.0)
        assert await link.exchange([("PING",)], 2.0) == [b"PONG"]
        link._transport.abort()
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await link.exchange([("PING",)], 2.0)
        await link.close()

    uvloop.run(run())


async def answers(store: Store, commands: Sequence[Command]) -> bool:
    """Whether all `commands` are answered, each with nothing."""
    try:
        return await store.pipeline(commands) == [None] * len(commands)
    except StoreUnavailable:
        return False


def test_a_node_of_a_cluster_that_was_closed(tmp_path: Path) -> None:
    async def run() -> None:
        async with clustered(tmp_path) as (_, settings):
            store = await connect(settings, tmp_path, timeout=2.0)
            try:
                await until(lambda: store.failure is None)
                commands: Sequence[tuple[str, str]] = [("GET", f"sidecar:{{u{shard}}}:mark") for shard in range(16)]
                assert await store.pipeline(commands) == [None] * 16
                transport: Any = store._transport
                for node in transport._slots.primaries():
                    for connection in node._connections:
                        close(connection)
                # So soon that no turn of the loop has told of it yet.
                with pytest.raises(StoreUnavailable, match="cannot be reached"):
                    await store.call(*commands[0])
                await until(partial(answers, store, commands))
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
                await until(lambda: store.failure is None)
                monkeypatch.setattr(AbstractConnection, "connect_check_health", greet_and_lose)
                transport: Any = store._transport
                for node in transport._slots.primaries():
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
