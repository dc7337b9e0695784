"""WebSockets: the hub agrees first, bytes go both ways, endings are kept."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

import aiohttp
import pytest
from aiohttp import web

from sidecar.worker.client.connection import PIPELINED
from tests.worker.client.test_connection_overload import Deaf, small_send_buffers
from tests.worker.plane import HubSide, running, until

HANDSHAKE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat\r\n"


async def echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(protocols=("chat",))
    await socket.prepare(request)
    async for message in socket:
        if message.data == "leave":
            await socket.close(code=4001, message=b"why not")
        else:
            await socket.send_str(f"{request.path_qs}: {message.data}")
    return socket


async def test_messages_protocol_and_close_code_pass() -> None:
    app = web.Application()
    app.router.add_get("/v1/realtime", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with running(environment={"SIDECAR_HUB__URL": f"http://127.0.0.1:{port}/"}) as plane, aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{plane.port}/v1/realtime?model=m"
            async with session.ws_connect(url, protocols=("chat",), headers={"Authorization": f"Bearer {plane.key}"}) as socket:
                assert socket.protocol == "chat"
                await socket.send_str("hello")
                assert (await socket.receive()).data == "/v1/realtime?model=m: hello"
                await socket.send_str("leave")
                last = await socket.receive()
                assert (last.type, last.data, last.extra) == (aiohttp.WSMsgType.CLOSE, 4001, "why not")
            (event,) = await plane.event()
            assert event.streaming and event.status == 101 and event.bytes_out > 0
            assert 0.0 < event.first_byte < event.total
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(url)
            assert refused.value.status == 401
    finally:
        await runner.cleanup()


async def test_a_hub_that_refuses_the_upgrade_is_passed_on() -> None:
    async def refuse(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")

    async with running() as plane:
        plane.hub.answer = refuse
        reader, writer = await plane.open()
        writer.write(plane.get("/v1/realtime", fields=HANDSHAKE, close=False))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 403") and await reader.readexactly(2) == b"no"


@pytest.mark.parametrize("field", ["Upgrade: h2c", "Upgrade: websocket, h2c", "Upgrade: websocket\r\nUpgrade: h2c"])
async def test_a_hub_that_switches_to_another_protocol_is_not_believed(field) -> None:
    async def switch(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n%b\r\n\r\nx" % field.encode())

    async with running() as plane:
        plane.hub.answer = switch
        answer = await plane.exchange(plane.get("/v1/realtime", fields=HANDSHAKE))
        assert answer.startswith(b"HTTP/1.1 502 ") and b"upgrade: websocket" not in answer
        (event,) = await plane.event()
        assert (event.status, event.outcome) == (502, "hub_error")


async def test_another_version_is_told_which_one_is_spoken() -> None:
    async with running() as plane:
        answer = await plane.exchange(plane.get(fields=HANDSHAKE.replace("Version: 13", "Version: 8")))
        assert answer.startswith(b"HTTP/1.1 426 ") and not plane.hub.seen
        # RFC 9110 7.8: who sends Upgrade must name it in Connection too.
        for line in (b"sec-websocket-version: 13", b"upgrade: websocket", b"connection: upgrade", b"connection: close"):
            assert b"\r\n%b\r\n" % line in answer


async def test_the_hubs_time_is_told_when_its_refusal_breaks_off() -> None:
    async def half(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 20\r\n\r\nno")
        side.writer.transport.abort()

    async with running() as plane:
        plane.hub.answer = half
        with contextlib.suppress(ConnectionResetError):
            await plane.exchange(plane.get(fields=HANDSHAKE))
        (event,) = await plane.event()
        assert (event.status, event.ending) == (403, "hub_aborted")
        assert 0.0 < event.hub_time < event.total, "else all of it counts as the sidecar's own"


async def test_a_client_that_was_refused_a_socket_and_leaves_later_touches_nobody_else() -> None:
    """It has not taken its refusal yet, while the hub's connection serves somebody else already."""
    other_asked, go_on = asyncio.Event(), asyncio.Event()

    async def answer(side: HubSide) -> None:
        if side.field("upgrade") is not None:
            await side.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 120000\r\n\r\n" + bytes(120_000))
        else:
            other_asked.set()
            await go_on.wait()
            await side.send(plane.hub.OK)

    async with running() as plane, Deaf(plane) as client:
        plane.hub.answer = answer
        await until(lambda: plane.plane.front.connections)
        (connection,) = plane.plane.front.connections
        small_send_buffers(plane)
        await client.send(plane.get(fields=HANDSHAKE, close=False))
        await until(lambda: connection._unread)  # type: ignore[attr-defined]
        other = asyncio.create_task(plane.exchange(plane.get(), timeout=20))
        await asyncio.wait_for(other_asked.wait(), 20)
        assert plane.hub.seen[0].writer is plane.hub.seen[1].writer, "the hub's connection is used again"
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.socket.close()
        await until(lambda: connection not in plane.plane.front.connections)
        go_on.set()
        assert (await other).endswith(b'{"ok":true}')


async def test_a_reset_of_the_hub_is_no_clean_close() -> None:
    async def switch(side: HubSide) -> None:
        await side.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n\x81\x02hi"
        )
        await side.reader.readexactly(3)
        side.writer.get_extra_info("socket").setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")
        side.writer.transport.abort()

    async with running() as plane:
        plane.hub.answer = switch
        reader, writer = await plane.open()
        writer.write(plane.get("/v1/realtime", fields=HANDSHAKE, close=False))
        assert (await reader.readuntil(b"\x81\x02hi")).startswith(b"HTTP/1.1 101")
        writer.write(b"abc")
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(-1), 5) == b"", "a close frame was made up"


async def switch(side: HubSide) -> None:
    await side.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    while data := await side.reader.read(65_536):
        side.body += data


async def test_a_client_that_sends_much_before_it_is_answered_is_read_on() -> None:
    agreed = asyncio.Event()

    async def late(side: HubSide) -> None:
        await agreed.wait()
        await switch(side)

    async with running() as plane:
        plane.hub.answer = late
        reader, writer = await plane.open()
        writer.write(plane.get(fields=HANDSHAKE, close=False))
        await until(lambda: plane.hub.seen)
        (connection,) = plane.plane.front.connections
        sent = bytes(2 * PIPELINED)
        writer.write(sent)
        await until(lambda: connection._held)  # type: ignore[attr-defined]
        agreed.set()
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        writer.write(b"the end")
        await until(lambda: len(plane.hub.seen[0].body) == len(sent) + 7)
        writer.close()
        (event,) = await plane.event()
        assert event.bytes_in == len(sent) + 7


async def test_idle_connections_make_room_for_a_socket() -> None:
    async with running(environment={"SIDECAR_HUB__MAX_CONNECTIONS": "1"}) as plane:
        assert (await plane.exchange(plane.get())).startswith(b"HTTP/1.1 200 ")
        assert plane.plane.pool.size == 1, "it is kept for the next request"
        plane.hub.answer = switch
        reader, writer = await plane.open()
        writer.write(plane.get(fields=HANDSHAKE, close=False))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert plane.plane.pool.size == 1
        assert b'"code":"overloaded"' in await plane.exchange(plane.get())
        writer.close()
        await until(lambda: not plane.plane.pool.size)


async def test_a_socket_is_a_client_connection_for_as_long_as_it_lasts() -> None:
    async with running(environment={"SIDECAR_PROXY__BOUNDS__CONNECTIONS": "2"}) as plane:
        plane.hub.answer = switch
        sockets = [await plane.open() for _ in range(2)]
        for number, (reader, writer) in enumerate(sockets, 1):
            writer.write(plane.get(fields=HANDSHAKE, close=False))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            assert plane.plane.front.sockets == number
        third = await asyncio.wait_for((await plane.open())[0].read(-1), 20)
        assert third.startswith(b"HTTP/1.1 503 ") and b'"code":"overloaded"' in third
        for _, writer in sockets:
            writer.close()
        await until(lambda: not plane.plane.front.sockets)
        plane.hub.answer = plane.hub.ok
        assert (await plane.exchange(plane.get())).startswith(b"HTTP/1.1 200 ")


async def test_a_hub_that_says_much_at_once_makes_its_client_no_dead_one() -> None:
    much = bytes(200_000)

    async def talkative(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + much)
        side.body = await side.reader.readexactly(7)
        await side.send(b"the end")

    async with running(environment={"SIDECAR_PROXY__TIMEOUTS__WRITE_IDLE": "200ms"}) as plane, Deaf(plane) as client:
        plane.hub.answer = talkative
        await until(lambda: plane.plane.front.connections)
        small_send_buffers(plane)
        await client.send(plane.get(fields=HANDSHAKE, close=False))
        loop = asyncio.get_running_loop()
        received = b""
        while not received.endswith(much):
            received += await loop.sock_recv(client.socket, 65_536)
        deadlines = plane.plane.front.write_deadline
        assert not deadlines.waiting, "it has taken all"
        await client.send(b"the end")
        while not received.endswith(b"the end"):
            received += await loop.sock_recv(client.socket, 65_536)
        client.socket.close()
        (event,) = await plane.event()
        assert (event.bytes_in, event.bytes_out, event.ending) == (7, len(much) + 7, "complete")


async def test_a_revoked_key_cuts_its_socket() -> None:
    async def switch(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n")
        await side.reader.read(1)

    async with running() as plane:
        plane.hub.answer = switch
        reader, writer = await plane.open()
        writer.write(plane.get("/v1/realtime", fields=HANDSHAKE, close=False))
        await reader.readuntil(b"\r\n\r\n")
        key = plane.keys.change(plane.key, revoked_at=1.0)
        plane.plane.open.key_changed(key.id)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(-1), 5) == b""
        (event,) = await plane.event()
        assert event.ending == "revoked"
