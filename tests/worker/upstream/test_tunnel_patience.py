"""WebSockets of peers that vanish, do not read, or were slow before: how long they last, and what is gathered for them."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from sidecar.events.record import Interim
from sidecar.worker import meter
from tests.worker.client.test_connection_overload import Deaf, small_send_buffers
from tests.worker.plane import HubSide, running, until
from tests.worker.upstream.test_tunnel import HANDSHAKE, switch


async def test_a_socket_in_which_nobody_says_anything_ends() -> None:
    async with running(environment={"SIDECAR_PROXY__TIMEOUTS__HUB_IDLE": "300ms"}) as plane:
        plane.hub.answer = switch
        reader, writer = await plane.open()
        writer.write(plane.get(fields=HANDSHAKE, close=False))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(-1), 10) == b"", "a close frame was made up"
        (event,) = await plane.event()
        assert (event.status, event.outcome, event.ending) == (101, "ok", "timeout")
        await until(lambda: not plane.plane.pool.size and not len(plane.plane.open))


async def test_a_socket_whose_client_takes_nothing_ends_although_the_client_speaks() -> None:
    async def flood(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                await side.send(bytes(65_536))

    async with running(environment={"SIDECAR_PROXY__TIMEOUTS__WRITE_IDLE": "300ms"}) as plane, Deaf(plane) as client:
        plane.hub.answer = flood
        await client.send(plane.get(fields=HANDSHAKE, close=False))

        async def speak() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    await client.send(b"ping")
                    await asyncio.sleep(0.05)

        speaking = asyncio.create_task(speak())
        async with asyncio.timeout(10):
            await speaking
        (event,) = await plane.event()
        assert (event.outcome, event.ending) == ("client_closed", "client_closed")
        await until(lambda: not plane.plane.pool.size)


async def test_a_socket_whose_hub_takes_nothing_ends() -> None:
    async def deaf(side: HubSide) -> None:
        side.writer.transport.pause_reading()
        await side.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                await side.send(b"ping")
                await asyncio.sleep(0.05)

    async with running(environment={"SIDECAR_PROXY__TIMEOUTS__HUB_IDLE": "300ms"}) as plane:
        plane.hub.answer = deaf
        reader, writer = await plane.open()
        writer.write(plane.get(fields=HANDSHAKE, close=False))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        writer.write(bytes(30_000_000))
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(-1), 10)
        (event,) = await plane.event()
        assert (event.outcome, event.reason, event.ending) == ("hub_error", "hub_timeout", "timeout")
        await until(lambda: not plane.plane.pool.size)


async def receive(client: Deaf, end: bytes) -> None:
    """Let `client` read until `end` comes."""
    tail = b""
    async with asyncio.timeout(20):
        while not tail.endswith(end):
            data = await asyncio.get_running_loop().sock_recv(client.socket, 1 << 20)
            assert data, "it was cut off"
            tail = tail[-len(end) :] + data


class FullTunnel:
    """A hub that answers a first request and agrees to a socket then, both so long that the client's buffer is full at the handover."""

    def __init__(self, after: bytes = b"") -> None:
        self.after = after

    async def __call__(self, side: HubSide) -> None:
        if side.field("upgrade") is None:
            await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + bytes(50_000))
            return
        padding = b"X-Padding: " + b"p" * 40_000
        await side.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + padding + b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await side.send(self.after)
            while data := await side.reader.read(65_536):
                await side.send(data)


async def test_a_socket_whose_client_was_slow_before_it_began_is_not_cut() -> None:
    async with running() as plane, Deaf(plane) as client:
        plane.hub.answer = FullTunnel()
        await until(lambda: plane.plane.front.connections)
        (connection,) = plane.plane.front.connections
        small_send_buffers(plane)
        plane.plane.ticker.stop()
        await client.send(plane.get(close=False) + plane.get(fields=HANDSHAKE, close=False))
        await until(lambda: connection not in plane.plane.front.connections)
        assert connection._writing_paused  # type: ignore[attr-defined]
        loop = asyncio.get_running_loop()
        await receive(client, b"connection: upgrade\r\nupgrade: websocket\r\n\r\n")
        for later in range(0, 1000, 10):
            plane.plane.front.write_deadline.tick(loop.time() + later)
        await client.send(b"still here")
        await receive(client, b"still here")


async def test_a_hub_is_held_back_by_a_client_that_was_full_before_its_socket_began() -> None:
    async with running() as plane, Deaf(plane) as client:
        plane.hub.answer = FullTunnel(bytes(10_000_000) + b"the end")
        await until(lambda: plane.plane.front.connections)
        (connection,) = plane.plane.front.connections
        small_send_buffers(plane)
        await client.send(plane.get(close=False) + plane.get(fields=HANDSHAKE, close=False))
        await until(lambda: connection not in plane.plane.front.connections)
        await until(lambda: all(not hub._transport.is_reading() for hub in plane.plane.pool._open if hub.upgraded is not None))
        assert connection.unsent < 1_000_000
        await receive(client, b"the end")


async def test_a_revoked_key_gets_nothing_more_through_to_a_hub_that_is_slow() -> None:
    """What waits for the hub is the dead key's, and its place is free at once."""

    async def deaf(side: HubSide) -> None:
        side.writer.transport.pause_reading()
        await side.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        await asyncio.Event().wait()

    async with running() as plane:
        plane.hub.answer = deaf
        reader, writer = await plane.open()
        writer.write(plane.get(fields=HANDSHAKE, close=False))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(bytes(30_000_000))
        (hub,) = plane.plane.pool._open
        await until(lambda: hub.unsent)
        key = plane.keys.change(plane.key, revoked_at=time.time())
        plane.plane.open.key_changed(key.id)
        await until(lambda: plane.events.requests)
        (event,) = plane.events.requests
        assert (event.outcome, event.reason, event.ending) == ("denied", "api_key_revoked", "revoked")
        assert not len(plane.plane.open) and not plane.plane.pool.size


async def test_a_long_socket_tells_of_its_bytes_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "INTERIM_SECONDS", 0.05)

    async def echo(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while data := await side.reader.read(65_536):
            await side.send(data)

    async with running() as plane:
        plane.hub.answer = echo
        reader, writer = await plane.open()
        writer.write(plane.get(fields=HANDSHAKE, close=False))
        await reader.readuntil(b"\r\n\r\n")
        said = 0

        def told() -> list[Interim]:
            return [event for event in plane.events.all if isinstance(event, Interim)]

        async with asyncio.timeout(20):
            while len(told()) < 3:
                writer.write(b"ping")
                said += 4
                assert await reader.readexactly(4) == b"ping"
        assert not plane.events.requests
        writer.close()
        (event,) = await plane.event()
        assert (event.bytes_in, event.bytes_out) == (said, said)
        assert (event.interim_in, event.interim_out) == (sum(one.bytes_in for one in told()), sum(one.bytes_out for one in told()))
        assert 0 < event.interim_in <= said
