"""Hubs that read slowly, or not at all: who gets on is not given up, and who does not read serves nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.worker.plane import HubSide, Plane, running, until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
BODY = b'{"model":"m","input":"' + b"a" * (4 << 20) + b'"}'
Serve = Callable[[socket.socket], Awaitable[None]]


@contextlib.asynccontextmanager
async def behind(serve: Serve, **timeouts: str) -> AsyncIterator[Plane]:
    """A data plane whose hub is `serve`, for each connection, with the smallest buffer for what it is sent."""
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Future[None]] = []
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)

        async def accept() -> None:
            while True:
                connection, _ = await loop.sock_accept(listener)
                connection.setblocking(False)
                tasks.append(asyncio.ensure_future(one(connection)))

        async def one(connection: socket.socket) -> None:
            with connection:
                await serve(connection)

        tasks.append(asyncio.ensure_future(accept()))
        settings = {f"SIDECAR_PROXY__TIMEOUTS__{name}": value for name, value in timeouts.items()}
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        try:
            async with running(profile="openai", environment={"SIDECAR_HUB__URL": url, **settings}) as plane:
                yield plane
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("inspected", [True, False], ids=["at once", "piece by piece"])
async def test_a_hub_that_reads_slowly_but_steadily_is_waited_for(inspected: bool) -> None:
    loop = asyncio.get_running_loop()

    async def slow(connection: socket.socket) -> None:
        got, hurries_at = 0, loop.time() + 1.5
        while got < len(BODY):
            got += len(await loop.sock_recv(connection, 65_536))
            await asyncio.sleep(0.02 if loop.time() < hurries_at else 0)
        await loop.sock_sendall(connection, OK)

    async with behind(slow, HUB_IDLE="500ms") as plane:
        key = plane.keys.issue(allowed_models=("m",)) if inspected else plane.key
        assert (await plane.exchange(plane.post(BODY, key=key), timeout=60)).startswith(b"HTTP/1.1 200 ")


async def test_a_hub_that_stops_reading_is_given_up() -> None:
    async def deaf(_: socket.socket) -> None:
        await asyncio.Event().wait()

    async with behind(deaf, HUB_IDLE="500ms") as plane:
        key = plane.keys.issue(allowed_models=("m",))
        assert b"hub_timeout" in await plane.exchange(plane.post(BODY, key=key), timeout=20)


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"], ids=["kept", "closed"])
async def test_a_hub_that_answers_without_reading_all_is_not_asked_again_on_that_connection(more: bytes) -> None:
    loop = asyncio.get_running_loop()
    seen: list[socket.socket] = []

    async def early(connection: socket.socket) -> None:
        seen.append(connection)
        await loop.sock_recv(connection, 1000)
        await until(lambda: all(one.unsent for one in plane.plane.pool._open))
        await loop.sock_sendall(connection, OK.replace(b"\r\n", b"\r\n" + more, 1))
        await asyncio.Event().wait()

    async with behind(early) as plane:
        key = plane.keys.issue(allowed_models=("m",))
        for _ in range(2):
            assert (await plane.exchange(plane.post(BODY, key=key), timeout=20)).startswith(b"HTTP/1.1 200 ")
            await until(lambda: not plane.plane.pool.size)
        assert len(seen) == 2


@pytest.mark.parametrize("is_sent", [False, True], ids=["uploading", "uploaded"])
async def test_a_hub_that_has_begun_its_answer_waits_for_the_rest_of_the_request(is_sent: bool) -> None:
    """From then on it is the hub that must go on."""

    async def early(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        side.body = await side.reader.readexactly(6)
        await patience_is_over.wait()
        await side.send(b"1\r\ny\r\n0\r\n\r\n")

    patience_is_over = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with running() as plane:
        plane.hub.early = True
        plane.hub.answer = early
        reader, writer = await plane.open()
        request = plane.post(b'{"a":1')
        writer.write(request if is_sent else request[:-1])
        await asyncio.wait_for(reader.readuntil(b"x\r\n"), 5)
        if is_sent:
            await until(lambda: plane.hub.seen[0].body)
        plane.plane.pool._between.tick(loop.time() + 3600)
        writer.write(b"" if is_sent else request[-1:])
        patience_is_over.set()
        if is_sent:
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(reader.read(-1), 5)
        else:
            assert await asyncio.wait_for(reader.read(-1), 5) == b"1\r\ny\r\n0\r\n\r\n"
        (event,) = await plane.event()
        assert event.ending == ("timeout" if is_sent else "complete")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"Content-Length: 3\r\n\r\nbig", b"HTTP/1.1 413 "),
        (b"Content-Length: 4\r\n\r\nbig", b"HTTP/1.1 413 "),
        (b"Content-Len", b"HTTP/1.1 502 "),
    ],
    ids=["whole", "broken off", "no head"],
)
async def test_what_a_hub_has_said_before_it_resets_is_read_though_the_reset_is_met_while_writing(said: bytes, told: bytes) -> None:
    loop = asyncio.get_running_loop()

    async def early(connection: socket.socket) -> None:
        await loop.sock_recv(connection, 1000)
        # What it closes with unread is what makes the end a reset.
        await until(lambda: bool(select.select([connection], [], [], 0)[0]))
        connection.send(b"HTTP/1.1 413 Content Too Large\r\n" + said)
        connection.close()
        # In this turn of the loop, so that the sidecar writes before it reads.
        (hub,) = plane.plane.pool._open
        hub.send(b"more")

    async with behind(early) as plane:
        reader, writer = await plane.open()
        head, body = plane.post(bytes(1 << 20))[: -(1 << 20)], bytes(1 << 16)
        writer.write(head + body)
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        assert answer.startswith(told)
        if said.endswith(b"4\r\n\r\nbig"):
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(reader.read(-1), 20)
        (event,) = await plane.event()
        assert event.hub_status == (413 if told.endswith(b"413 ") else 0)


async def test_of_a_connection_that_is_lost_to_a_fault_here_nothing_more_is_read() -> None:
    """The hub may send on for ever."""
    loop = asyncio.get_running_loop()

    async def answers(connection: socket.socket) -> None:
        await loop.sock_recv(connection, 1000)
        connection.send(OK)
        (hub,) = plane.plane.pool._open
        hub.connection_lost(ValueError())

    async with behind(answers) as plane:
        assert b"hub_unavailable" in await plane.exchange(plane.post(b"{}"), timeout=20)
