"""Clients that take no answers, hold connections for nothing, or come in too great a number."""

from __future__ import annotations

import asyncio
import socket

import pytest

from sidecar.taken import taken_bytes
from sidecar.worker.client.front import UNFINISHED_SECONDS
from sidecar.worker.client.linger import MOST
from tests.worker.plane import HubSide, Plane, running, until


class Deaf:
    """A client that sends and never reads, with the smallest buffer for what it is sent."""

    def __init__(self, plane: Plane) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.setblocking(False)
        self._port = plane.port

    async def __aenter__(self) -> Deaf:
        await asyncio.get_running_loop().sock_connect(self.socket, ("127.0.0.1", self._port))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.socket.close()

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)


def small_send_buffers(plane: Plane) -> None:
    """Make the sidecar's own sockets small too, so that little data is enough to fill them."""
    for connection in plane.plane.front.connections:
        connection._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # type: ignore[attr-defined]


@pytest.mark.parametrize("known", [True, False])
async def test_answers_that_nobody_reads_are_not_gathered(known: bool) -> None:
    async def large(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + bytes(60_000))

    async with running() as plane, Deaf(plane) as client:
        plane.hub.answer = large
        request = plane.get(close=False) if known else b"GET /v1/x HTTP/1.1\r\nHost: a\r\n\r\n"
        sending = asyncio.create_task(client.send(request * 60_000))
        await until(lambda: plane.events.requests)
        last = -1
        while last != len(plane.events.requests):
            last = len(plane.events.requests)
            await asyncio.sleep(0.5)
        (connection,) = plane.plane.front.connections
        assert connection.unsent < 256 << 10
        sending.cancel()


async def test_a_client_that_never_takes_its_answer_is_given_up_though_little_is_left_to_send() -> None:
    """Too little for the transport to say that it is full: without a deadline of its own the connection would stay for ever."""

    async def answer(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n" + bytes(40_000))

    timeouts = {"SIDECAR_PROXY__TIMEOUTS__KEEP_ALIVE": "200ms", "SIDECAR_PROXY__TIMEOUTS__WRITE_IDLE": "300ms"}
    async with running(environment=timeouts) as plane, Deaf(plane) as client:
        plane.hub.answer = answer
        await until(lambda: plane.plane.front.connections)
        small_send_buffers(plane)
        await client.send(plane.get(close=False))
        await plane.event()
        await until(lambda: not plane.plane.front.connections)


@pytest.mark.parametrize("left", [40_000, 200_000])
async def test_a_client_that_leaves_by_half_is_gone_although_it_takes_nothing(left: int) -> None:
    """The transport waits until all is taken before it says that the client has left."""
    stopped = asyncio.Event()

    async def answer(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + bytes(left))
        await side.reader.read(1)
        stopped.set()

    async with running(environment={"SIDECAR_PROXY__TIMEOUTS__WRITE_IDLE": "300ms"}) as plane, Deaf(plane) as client:
        plane.hub.answer = answer
        await until(lambda: plane.plane.front.connections)
        small_send_buffers(plane)
        await client.send(plane.get(close=False))
        (connection,) = plane.plane.front.connections
        await until(lambda: connection.unsent)
        client.socket.shutdown(socket.SHUT_WR)
        await until(stopped.is_set)
        (event,) = await plane.event()
        assert event.ending == "client_closed"
        await until(lambda: not plane.plane.front.connections)


@pytest.mark.parametrize(("profile", "ending", "tokens"), [("generic", "client_closed", 0), ("aigne", "drained", 10)])
async def test_what_a_client_that_left_by_half_asked_for_ends_at_once(profile: str, ending: str, tokens: int) -> None:
    """Although it was full and whoever answered waited for it; what the hub still says is drained meanwhile."""
    piece = b"data: %b\n\n" % bytes(50_000)
    usage = b'data: {"delta":{"json":{"usage":{"inputTokens":10,"outputTokens":5}}}}\n\n'
    left = asyncio.Event()

    async def answer(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(4):
            await side.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await left.wait()
        await side.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(usage), usage))

    async with running(profile=profile) as plane, Deaf(plane) as client:
        plane.hub.answer = answer
        await until(lambda: plane.plane.front.connections)
        small_send_buffers(plane)
        await client.send(plane.post(b"{}", "/api/v2/chat", close=False))
        (connection,) = plane.plane.front.connections
        await until(lambda: connection.unsent > 64 << 10)
        client.socket.shutdown(socket.SHUT_WR)
        left.set()
        await until(lambda: plane.events.requests)
        (event,) = plane.events.requests
        assert (event.outcome, event.ending, event.tokens.input) == ("client_closed", ending, tokens)


async def test_a_client_that_takes_its_answer_slowly_is_never_cut_and_one_that_stops_is() -> None:
    async def answer(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n")
        while True:
            await side.send(bytes(65_536))

    async with running() as plane, Deaf(plane) as client:
        plane.hub.answer = answer
        await until(lambda: plane.plane.front.connections)
        (connection,) = plane.plane.front.connections
        small_send_buffers(plane)
        plane.plane.ticker.stop()
        await client.send(plane.get(close=False))
        await until(lambda: connection._writing_paused)  # type: ignore[attr-defined]
        loop = asyncio.get_running_loop()
        transport = connection._transport  # type: ignore[attr-defined]
        deadline, now, taken = plane.plane.front.write_deadline, loop.time(), taken_bytes(transport)
        for _ in range(8):
            # The default is a minute.
            now += 50
            while taken_bytes(transport) == taken:
                await loop.sock_recv(client.socket, 1000)
                await asyncio.sleep(0)
            taken = taken_bytes(transport)
            deadline.tick(now)
            assert not transport.is_closing()
            assert connection._writing_paused, "it never took so much that this alone would count"  # type: ignore[attr-defined]
        for _ in range(5):
            now += 20
            deadline.tick(now)
        (event,) = await plane.event()
        assert event.ending == "client_closed"
        assert not plane.plane.front.connections


async def test_a_client_that_stops_near_the_end_of_its_last_answer_is_given_up() -> None:
    """So little is left that the transport calls itself free again, while it waits for just that before it closes."""
    async with running() as plane:
        connection, transport = plane.plane.connection(), Closing()
        connection.connection_made(transport)
        deadline = plane.plane.front.write_deadline
        connection.pause_writing()
        connection.close_if_idle()
        connection.resume_writing()
        assert deadline.waiting == 1
        connection.connection_lost(None)
        assert deadline.waiting == 0


async def test_nobody_who_has_not_taken_all_of_an_answer_gives_way() -> None:
    async with running() as plane:
        connection, transport = plane.plane.connection(), Closing()
        connection.connection_made(transport)
        front = plane.plane.front
        connection.close_if_idle()
        assert (front.leaving.waiting, front.write_deadline.waiting) == (1, 1)
        assert not connection.give_way()
        transport.unsent = 0
        assert connection.give_way()
        await until(lambda: transport.aborted)


async def test_nobody_gives_way_twice() -> None:
    """Its transport says that it is gone a turn of the loop later; meanwhile others may come."""
    async with running(environment={"SIDECAR_PROXY__BOUNDS__CONNECTIONS": "1"}) as plane:
        front, connection, transport = plane.plane.front, plane.plane.connection(), Closing()
        transport.unsent = 0
        connection.connection_made(transport)
        queues = (front.leaving, front.idle_deadline, front.told_deadline, front.header_deadline)
        for queue in queues:
            queue.arm(connection)
        assert connection.give_way()
        assert [queue.waiting for queue in queues] == [0, 0, 0, 0]
        connection.connection_lost(None)


class Closing(asyncio.Transport):
    """A transport that is never rid of its last bytes."""

    closing = aborted = False
    unsent = 10_000

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def is_closing(self) -> bool:
        return self.closing

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default

    def get_write_buffer_size(self) -> int:
        return self.unsent


async def test_a_drain_waits_until_answers_are_taken() -> None:
    body = bytes(range(256)) * 8000

    async def answer(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with running() as plane, Deaf(plane) as client:
        plane.hub.answer = answer
        await until(lambda: plane.plane.front.connections)
        small_send_buffers(plane)
        await client.send(plane.get(close=False))
        loop = asyncio.get_running_loop()
        received = b""
        while len(received) < len(body) // 2:
            received += await loop.sock_recv(client.socket, 4096)
        draining = asyncio.create_task(plane.plane.drain(30))
        while data := await loop.sock_recv(client.socket, 65_536):
            received += data
        assert received.endswith(b"\r\n\r\n" + body)
        await draining


async def test_the_longest_idle_connection_makes_room_for_a_new_one() -> None:
    async with running(environment={"SIDECAR_PROXY__BOUNDS__CONNECTIONS": "3"}) as plane:
        first, writer = await plane.open()
        writer.write(plane.get(close=False))
        await first.readuntil(b"}")
        others = []
        for _ in range(2):
            reader, writer = await plane.open()
            writer.write(plane.get(close=False))
            await reader.readuntil(b"}")
            others.append((reader, writer))
        assert b"200 OK" in await plane.exchange(plane.get())
        assert await asyncio.wait_for(first.read(-1), 20) == b""
        for reader, writer in others:
            writer.write(plane.get(close=False))
            assert await reader.readuntil(b"}")


async def test_whoever_was_answered_early_makes_room_after_a_second_and_ends_at_last_however_it_goes_on() -> None:
    """Nobody needs a key to be refused, so whoever sends on for as long as it may must not hold a place for as long."""
    async with running(environment={"SIDECAR_PROXY__BOUNDS__CONNECTIONS": "2"}) as plane:
        front = plane.plane.front
        refused = []
        for _ in range(2):
            reader, writer = await plane.open()
            writer.write(b"POST /api/v2/chat HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\n")
            assert b" 401 " in await reader.readuntil(b"\r\n")
            refused.append(writer)
        await until(lambda: front.told_deadline.waiting == 2)
        (oldest, _), since = front.told_deadline._armed.items(), plane.plane.front.loop.time()
        while front.loop.time() < since + UNFINISHED_SECONDS:
            for writer in refused:
                writer.write(b"x")
            await asyncio.sleep(0.05)
        assert b"200 OK" in await plane.exchange(plane.get())
        assert oldest[0] not in front.connections and len(front.connections) == 1
        front.told_deadline.tick(front.loop.time() + MOST)
        await until(lambda: not front.connections)


async def test_an_unfinished_request_makes_room_after_a_second_and_a_busy_one_never(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(side: HubSide) -> None:
        await side.reader.read(1)

    async with running(environment={"SIDECAR_PROXY__BOUNDS__CONNECTIONS": "2"}) as plane:
        plane.hub.answer = silent
        _, busy = await plane.open()
        busy.write(plane.get())
        await until(lambda: plane.hub.seen)
        unfinished, dripping = await plane.open()
        dripping.write(b"GET /v1")
        refused = await plane.exchange(b"")
        assert b"HTTP/1.1 503" in refused and b"retry-after" in refused and b"connection: close" in refused
        # The second is over.
        monkeypatch.setattr("sidecar.worker.client.front.UNFINISHED_SECONDS", 0.0)
        plane.hub.answer = plane.hub.ok
        await until(lambda: len(plane.plane.front.connections) == 2)
        assert b"200 OK" in await plane.exchange(plane.get())
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(unfinished.read(-1), 20)
        assert len(plane.plane.open) == 1


async def test_a_refused_connection_hears_why_although_it_was_already_sending() -> None:
    async def silent(side: HubSide) -> None:
        await side.reader.read(1)

    async with running(environment={"SIDECAR_PROXY__BOUNDS__CONNECTIONS": "1"}) as plane:
        plane.hub.answer = silent
        _, busy = await plane.open()
        busy.write(plane.get())
        await until(lambda: plane.hub.seen)
        answers = await asyncio.gather(*(plane.exchange(plane.post(bytes(20_000))) for _ in range(20)))
        assert all(answer.startswith(b"HTTP/1.1 503") and b"overloaded" in answer for answer in answers)


async def test_a_faulty_chunk_is_never_followed_by_an_end() -> None:
    """A hub that answered early must not make the rest of a broken body look like the next request."""

    async def early(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")

    async with running() as plane:
        plane.hub.early = True
        plane.hub.answer = early
        reader, writer = await plane.open()
        head = f"POST /v1/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {plane.key}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        writer.write(head.encode())
        await reader.readuntil(b"x\r\n")
        writer.write(b"zz\r\n0\r\n\r\n" + plane.get("/smuggled"))
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(-1), 20)
        assert [side.request_line for side in plane.hub.seen] == ["POST /v1/x HTTP/1.1"]
        assert not plane.hub.seen[0].complete
