"""What a faulty or hijacked hub sends must not reach the next user of its connection, nor hold a request for ever."""

from __future__ import annotations

import asyncio

import pytest

from tests.worker.plane import HubSide, running, until

HANDSHAKE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"


@pytest.mark.parametrize(
    "surplus",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Poison: 1\r\n\r\not",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nother",
        b"HTTP/1.1 2",
        b"garbage",
        b"\x00",
    ],
)
@pytest.mark.parametrize("length", [b"Content-Length: 4\r\n\r\nmine", b"Transfer-Encoding: chunked\r\n\r\n4\r\nmine\r\n0\r\n\r\n"])
async def test_a_second_answer_reaches_nobody(surplus: bytes, length: bytes) -> None:
    async def two(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\n" + length + surplus)

    async with running() as plane:
        plane.hub.answer = two
        first = await plane.exchange(plane.get())
        assert first.startswith(b"HTTP/1.1 200") and first.endswith(b"\r\n\r\nmine") and b"Poison" not in first
        plane.hub.answer = plane.hub.ok
        second = await plane.exchange(plane.get())
        assert second.endswith(b'\r\n\r\n{"ok":true}')
        assert [event.outcome for event in plane.events.requests] == ["ok", "ok"]


async def test_trailers_are_dropped_and_never_merged() -> None:
    async def trailing(side: HubSide) -> None:
        await side.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n2\r\nhi\r\n0\r\nX-Late: 1\r\nSet-Cookie: a=b\r\n\r\n"
        )

    async with running() as plane:
        plane.hub.answer = trailing
        answer = await plane.exchange(plane.get())
        assert answer.endswith(b"\r\n\r\nhi") and b"content-length: 2" in answer
        assert b"Late" not in answer and b"ookie" not in answer


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nhi",
    ],
)
async def test_what_two_readers_could_read_differently_is_no_answer(answer: bytes) -> None:
    async def send(side: HubSide) -> None:
        await side.send(answer)

    async with running() as plane:
        plane.hub.answer = send
        received = await plane.exchange(plane.get())
        assert received.startswith(b"HTTP/1.1 502") and b"hub_unavailable" in received
        await until(lambda: plane.plane.pool.size == 0)


async def test_a_head_without_end_is_cut() -> None:
    async def endless(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            await side.send(b"a" * 65_536)
            sent.append(65_536)

    sent: list[int] = []
    async with running() as plane:
        plane.hub.answer = endless
        assert b"hub_unavailable" in await plane.exchange(plane.get())
        assert sum(sent) < 16 << 20


async def test_an_unasked_upgrade_is_not_kept_for_the_next_request() -> None:
    async def switch(side: HubSide) -> None:
        await side.send(SWITCH)

    async with running() as plane:
        plane.hub.answer = switch
        assert b"HTTP/1.1 502" in await plane.exchange(plane.get())
        plane.hub.answer = plane.hub.ok
        assert b"200 OK" in await plane.exchange(plane.get())
        assert plane.hub.seen[0].writer is not plane.hub.seen[1].writer


async def test_websockets_leave_no_hub_connection_behind() -> None:
    async def switch(side: HubSide) -> None:
        await side.send(SWITCH + b"\x81\x02hi")
        await side.reader.read(1)

    async with running(environment={"SIDECAR_HUB__MAX_CONNECTIONS": "2"}) as plane:
        plane.hub.answer = switch
        for number in range(5):
            reader, writer = await plane.open()
            writer.write(plane.get("/v1/realtime", fields=HANDSHAKE, close=False))
            assert (await reader.readuntil(b"hi")).startswith(b"HTTP/1.1 101")
            writer.close()
            await plane.event(number + 1)
            await until(lambda: plane.plane.pool.size == 0)


async def test_a_hub_that_switches_and_leaves_at_once_ends_the_request() -> None:
    async def switch(side: HubSide) -> None:
        side.writer.write(SWITCH + b"\x88\x00")
        side.writer.close()

    async with running() as plane:
        plane.hub.answer = switch
        for number in range(20):
            reader, writer = await plane.open()
            writer.write(plane.get("/v1/realtime", fields=HANDSHAKE, close=False))
            assert (await asyncio.wait_for(reader.read(-1), 20)).endswith(b"\x88\x00")
            await plane.event(number + 1)
        await until(lambda: not len(plane.plane.open))


async def test_a_hub_that_reads_no_upload_and_answers_nothing_times_out() -> None:
    async def deaf(side: HubSide) -> None:
        await asyncio.sleep(60)

    async with running(environment={"SIDECAR_PROXY__TIMEOUTS__HUB_IDLE": "500ms"}) as plane:
        plane.hub.early = True
        plane.hub.answer = deaf
        reader, writer = await plane.open()
        head = f"POST /v1/x HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer {plane.key}\r\nContent-Length: 200000000\r\n\r\n"
        writer.write(head.encode() + bytes(20_000_000))
        assert b"HTTP/1.1 504" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        (event,) = await plane.event()
        assert event.reason == "hub_timeout"
