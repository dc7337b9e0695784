"""The pool's places: a connection that the hub has closed already takes none, and nobody waits for its answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import msgspec
import pytest

from sidecar.refusals import HUB_UNAVAILABLE, Refused
from sidecar.settings.values import HubUrl
from sidecar.worker.upstream.connection import HubConnection, HubFault
from tests.worker.plane import HubSide, running, until


class LateLoop:
    """The loop, but a connection is handed over when its protocol has heard already that the hub closed it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(self, factory: Callable[[], HubConnection], *arguments: Any, **options: Any) -> Any:
        transport, protocol = await self._loop.create_connection(factory, *arguments, **options)
        await until(lambda: protocol._fault is not None)
        return transport, protocol


@contextlib.asynccontextmanager
async def hub_that_closes_at_once() -> AsyncIterator[str]:
    async def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


@pytest.mark.parametrize("fields", ["", "Connection: Upgrade\r\nUpgrade: websocket\r\n"])
async def test_a_hub_that_closes_at_once_is_told_and_takes_no_place(fields: str) -> None:
    if fields:
        fields += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    async with hub_that_closes_at_once() as url:
        environment = {"SIDECAR_HUB__URL": url, "SIDECAR_HUB__MAX_CONNECTIONS": "2"}
        async with running(environment=environment) as plane:
            pool = plane.plane.pool
            pool._loop = cast(asyncio.AbstractEventLoop, LateLoop(asyncio.get_running_loop()))
            for number in range(1, 4):
                reader, writer = await plane.open()
                writer.write(plane.get("/v1/x", fields=fields, close=False))
                answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
                assert answer.startswith(b"HTTP/1.1 502 ")
                assert pool.size == 0
                assert (await plane.event(number))[-1].reason == "hub_unavailable"


async def test_a_name_that_the_resolver_cannot_write_down_is_a_hub_that_is_not_there() -> None:
    async with running() as plane:
        pool = plane.plane.pool
        url = HubUrl.parse("http://hub.example/")
        url.host = "hub..example"
        pool._settings = msgspec.structs.replace(pool._settings, url=url)
        with pytest.raises(Refused) as refused:
            await pool.connect(b"GET")
        assert refused.value.refusal is HUB_UNAVAILABLE
        assert pool.size == 0


@pytest.mark.parametrize(("age", "promise"), [("0s", b""), ("4s", b"Keep-Alive: timeout=1\r\n")])
async def test_connections_that_are_too_old_take_no_place_from_a_new_one(age: str, promise: bytes) -> None:
    async def answer(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\n%bContent-Length: 2\r\n\r\n{}" % promise)

    environment = {"SIDECAR_HUB__MAX_CONNECTIONS": "1", "SIDECAR_HUB__IDLE_CONNECTION_AGE": age}
    async with running(environment=environment) as plane:
        plane.hub.answer = answer
        for _ in range(3):
            assert (await plane.exchange(plane.get())).startswith(b"HTTP/1.1 200 ")
        assert plane.plane.pool.size == 1


async def test_a_place_is_free_in_the_turn_in_which_its_exchange_ends() -> None:
    async with running(environment={"SIDECAR_HUB__MAX_CONNECTIONS": "1"}) as plane:
        pool = plane.plane.pool
        for is_sent in (True, False, True):
            hub = await pool.connect(b"GET")
            if is_sent:
                hub.sent()
            pool.give_back(hub)
        assert pool.size == 0


async def test_an_exchange_does_not_wait_for_a_connection_that_was_lost_before_it_began() -> None:
    async with running() as plane:
        hub = plane.plane.pool._protocol()
        transport = _Gone()
        hub.connection_made(transport)
        hub.connection_lost(None)
        hub.start(b"GET")
        hub.send(b"GET / HTTP/1.1\r\n\r\n")
        hub.sent()
        with pytest.raises(HubFault, match="closed"):
            await hub.head()


async def test_a_kept_connection_that_was_lost_is_known_as_such() -> None:
    async with running() as plane:
        hub = plane.plane.pool._protocol()
        hub.connection_made(_Gone())
        hub.start(b"GET")
        hub.sent()
        hub.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        hub.finish()
        hub.connection_lost(None)
        hub.start(b"GET")
        with pytest.raises(HubFault, match="closed"):
            await hub.head()


class _Gone(asyncio.Transport):
    """What is left of a lost connection."""

    def is_closing(self) -> bool:
        return True
