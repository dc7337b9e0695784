"""A client connection in time: deadlines, pipelining, keep-alive, and how it ends."""

from __future__ import annotations

import asyncio
import os

import pytest

from sidecar.keys.reader import Found
from sidecar.worker.client.body import HIGH_WATER
from tests.worker.plane import HubSide, running, until

SHORT = {
    "SIDECAR_PROXY__TIMEOUTS__HEADER": "300ms",
    "SIDECAR_PROXY__TIMEOUTS__KEEP_ALIVE": "300ms",
    "SIDECAR_PROXY__TIMEOUTS__BODY_IDLE": "300ms",
    "SIDECAR_PROXY__TIMEOUTS__WRITE_IDLE": "300ms",
}


async def test_a_head_that_does_not_arrive_is_408_even_when_it_drips() -> None:
    async with running(environment=SHORT) as plane:
        reader, writer = await plane.open()

        async def drip() -> None:
            for byte in b"GET /v1 HTTP/1.1\r\n" * 20:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        received = await asyncio.wait_for(reader.read(-1), 5)
        dripping.cancel()
        assert received.startswith((b"HTTP/1.1 408", b"HTTP/1.1 400")) and b"connection: close" in received


async def test_a_silent_connection_is_closed_without_a_word() -> None:
    async with running(environment=SHORT) as plane:
        assert await plane.exchange(b"") == b""
        assert not plane.events.requests


@pytest.mark.parametrize("behind", [b"", b"\r\n", b"\r\n\r\n"])
async def test_a_kept_connection_is_closed_when_nobody_needs_it(behind: bytes) -> None:
    async with running(environment=SHORT) as plane:
        received = await plane.exchange(plane.get(close=False) + behind)
        assert received.startswith(b"HTTP/1.1 200") and received.count(b"HTTP/1.1 ") == len(plane.events.requests) == 1


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 10\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhal", b"Content-Length: 10\r\n\r\n"]
)
async def test_a_body_that_stops_is_408_and_never_complete_at_the_hub(framing: bytes) -> None:
    async with running(environment=SHORT) as plane:
        head = f"POST /v1/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {plane.key}\r\n".encode()
        received = await plane.exchange(head + framing)
        assert received.startswith(b"HTTP/1.1 408") and b"request_timeout" in received
        assert not any(side.complete for side in plane.hub.seen)
        assert plane.events.requests[0].reason == "request_timeout"


async def test_a_body_that_is_held_back_is_not_late() -> None:
    """It came behind another request, and nobody reads it yet."""
    first, second = asyncio.Event(), asyncio.Event()

    async def find(token: bytes) -> Found | None:
        await second.wait()
        return plane.keys.found[token]

    async def wait(side: HubSide) -> None:
        await first.wait()
        await side.send(plane.hub.OK)

    async with running(environment=SHORT) as plane:
        plane.hub.answer = wait
        plane.keys.resolve = find  # type: ignore[method-assign]
        cold = plane.keys.issue()
        plane.keys.cold.add(cold.encode())
        reader, writer = await plane.open()
        writer.write(plane.get(close=False))
        await until(lambda: plane.hub.seen)
        (connection,) = plane.plane.front.connections
        body = bytes(HIGH_WATER + 1000)
        # More than the bound on what is pipelined can be there by as much as is read at a time.
        connection.data_received(plane.post(body, key=cold)[:-100])  # type: ignore[attr-defined]
        first.set()
        await until(lambda: len(plane.events.requests) == 1 and connection._held)  # type: ignore[attr-defined]
        deadline = plane.plane.front.body_deadline
        assert not deadline.waiting, "its client cannot send"
        second.set()
        await until(lambda: deadline.waiting)
        writer.write(bytes(100))
        assert (await asyncio.wait_for(reader.read(-1), 5)).count(b"HTTP/1.1 200 OK") == 2
        assert plane.hub.seen[1].body == body


async def test_who_is_refused_on_a_kept_connection_is_not_idle() -> None:
    """Else a new connection would take the place of one whose client still sends, and so cannot read why."""
    async with running() as plane:
        reader, writer = await plane.open()
        writer.write(plane.get(close=False))
        await until(lambda: plane.plane.front.idle_deadline.waiting)
        writer.write(b"no request\r\n\r\n")
        assert b"HTTP/1.1 400 " in await asyncio.wait_for(reader.read(-1), 5)
        assert not plane.plane.front.idle_deadline.waiting


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    async def flood(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
        for _ in range(500):
            await side.send(b"x" * 100_000)

    async with running(environment=SHORT) as plane:
        plane.hub.answer = flood
        _, writer = await plane.open()
        writer.transport.pause_reading()
        writer.write(plane.get())
        (event,) = await plane.event()
        assert event.ending == "client_closed"


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def echo(side: HubSide) -> None:
        text = side.request_line.encode()
        await asyncio.sleep(0.02 if "slow" in side.request_line else 0)
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))

    async with running() as plane:
        plane.hub.answer = echo
        targets = ["/slow", "/a", "/slow/2", "/b"]
        raw = b"".join(plane.get(target, close=False) for target in targets[:-1]) + plane.get(targets[-1])
        received = await plane.exchange(raw)
        assert [received.index(f"GET {target} HTTP".encode()) for target in targets] == sorted(
            received.index(f"GET {t} HTTP".encode()) for t in targets
        )
        assert [event.path for event in plane.events.requests] == targets


async def test_too_much_in_the_pipeline_holds_the_client_back_and_loses_nothing() -> None:
    async with running() as plane:
        count = 2000
        reader, writer = await plane.open()
        writer.write(plane.get(close=False) * count)
        received = b""
        while received.count(b'{"ok":true}') < count:
            data = await asyncio.wait_for(reader.read(1 << 16), 10)
            assert data
            received += data
        assert len(plane.events.requests) == count


async def test_a_refused_upload_can_still_read_its_answer() -> None:
    async with running() as plane:
        reader, writer = await plane.open()
        writer.write(b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 100_000)
        received = await asyncio.wait_for(reader.read(-1), 5)
        assert received.startswith(b"HTTP/1.1 401") and not plane.hub.seen


async def test_who_reads_only_when_all_is_sent_has_its_answer_too() -> None:
    async with running() as plane:
        reader, writer = await plane.open()
        writer.write(b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n")
        for _ in range(80):
            writer.write(bytes(100_000))
            await writer.drain()
        assert (await asyncio.wait_for(reader.read(-1), 5)).startswith(b"HTTP/1.1 401") and not plane.hub.seen


async def test_an_upload_without_end_is_not_swallowed() -> None:
    async with running() as plane:
        _, writer = await plane.open()
        writer.write(b"POST /v1/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")

        async def send_on() -> None:
            for _ in range(200):
                writer.write(b"186a0\r\n%b\r\n" % bytes(100_000))
                await writer.drain()

        with pytest.raises(ConnectionError):
            await send_on()


async def test_connections_beyond_the_bound_are_told_so() -> None:
    async with running(environment={"SIDECAR_PROXY__BOUNDS__CONNECTIONS": "2"}) as plane:
        first, second = await plane.open(), await plane.open()
        third = await asyncio.wait_for((await plane.open())[0].read(-1), 5)
        assert b"HTTP/1.1 503" in third and b"overloaded" in third
        first[1].close()
        second[1].close()


async def test_old_clients_are_closed_unless_they_ask() -> None:
    async with running() as plane:
        old = plane.get(close=False).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        assert b"connection: close" in await plane.exchange(old)
        reader, writer = await plane.open()
        writer.write(old.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"))
        assert b"connection: keep-alive" in await reader.readuntil(b"\r\n\r\n")
        writer.close()


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET /api/v2/status", b"401"),
        ("POST /api/v2/chat", b"401"),
        ("OPTIONS /api/v2/chat", b"204"),
        ("GET /__blocklet__.js", b"200"),
    ],
)
async def test_old_clients_are_told_that_an_answer_of_our_own_is_the_last(line: str, status: bytes) -> None:
    async with running(profile="aigne") as plane:
        length = "Content-Length: 0\r\n" if line.startswith("POST") else ""
        old = f"{line} HTTP/1.0\r\nConnection: keep-alive\r\n{length}\r\n"
        received = await plane.exchange(old.encode())
        assert received.startswith(b"HTTP/1.1 " + status) and b"\r\nconnection: close\r\n" in received
        reader, writer = await plane.open()
        writer.write(f"{line} HTTP/1.1\r\nHost: a\r\n{length}\r\n".encode())
        assert b"\r\nconnection: " not in await reader.readuntil(b"\r\n\r\n")
        writer.close()


@pytest.mark.parametrize("end", ["drain", "idle"])
async def test_a_request_that_has_come_is_answered_though_its_connection_was_to_be_closed(end: str) -> None:
    """Closing would reset it, and whoever sent it could not know whether it reached the hub."""
    async with running() as plane:
        front = plane.plane.front
        _, writer = await plane.open()
        writer.transport.pause_reading()
        kept = writer.get_extra_info("socket")
        writer.write(plane.get(close=False))
        await until(lambda: plane.events.requests)
        await until(lambda: front.idle_deadline.waiting)
        # All at once: the sidecar, in this very loop, has no turn to read it.
        os.write(kept.fileno(), plane.get(close=False))
        if end == "drain":
            front.drain()
        else:
            front.idle_deadline.tick(front.loop.time() + 1000)
        await until(lambda: len(plane.events.requests) == 2)
        assert [event.status for event in plane.events.requests] == [200, 200]
        writer.close()


async def test_draining_closes_idle_connections_and_ends_kept_ones_after_their_answer() -> None:
    release = asyncio.Event()

    async def wait(side: HubSide) -> None:
        await release.wait()
        await side.send(plane.hub.OK)

    async with running() as plane:
        idle, _ = await plane.open()
        plane.hub.answer = wait
        busy, writer = await plane.open()
        writer.write(plane.get(close=False))
        async with asyncio.timeout(2):
            while not plane.hub.seen:
                await asyncio.sleep(0.005)
        draining = asyncio.create_task(plane.plane.drain(5))
        assert await asyncio.wait_for(idle.read(-1), 10) == b""
        release.set()
        received = await asyncio.wait_for(busy.read(-1), 2)
        assert b"200 OK" in received and b"connection: close" in received
        await draining


async def test_who_was_refused_early_may_send_on_while_the_worker_drains() -> None:
    """As at any other time: a reset would take the answer from whoever reads only when all is sent."""
    async with running() as plane:
        reader, writer = await plane.open()
        writer.write(b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n")
        await plane.event()
        draining = asyncio.create_task(plane.plane.drain(20))
        await until(lambda: plane.plane.front.draining)
        for _ in range(80):
            writer.write(bytes(100_000))
            await writer.drain()
        assert (await asyncio.wait_for(reader.read(-1), 20)).startswith(b"HTTP/1.1 401 ")
        writer.close()
        await draining


async def test_a_worker_that_drains_awaits_no_request_of_who_was_refused() -> None:
    async with running() as plane:
        reader, writer = await plane.open()
        writer.write(b"no request\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        plane.plane.front.drain()
        assert plane.plane.front.connections and not plane.plane.front.awaits_first()
