from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import cast

import pytest
import uvloop

from sidecar.worker import queued


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)
        self._transport.close()


async def test_who_waits_in_a_socket_that_is_closed_is_served(listener: socket.socket) -> None:
    host, port = listener.getsockname()
    clients = [await asyncio.open_connection(host, port) for _ in range(20)]
    taken = queued.take(listener, 100)
    assert listener.fileno() == -1
    await queued.serve(taken, Echo)
    for number, (reader, writer) in enumerate(clients):
        writer.write(b"%d" % number)
        assert await asyncio.wait_for(reader.read(), 10) == b"%d" % number
        writer.close()


def test_no_more_are_taken_than_were_asked_for(listener: socket.socket) -> None:
    clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]
    taken = queued.take(listener, 2)
    assert len(taken) == 2
    for one in (*clients, *taken):
        one.close()


@pytest.mark.parametrize("turns", range(6))
def test_whom_the_loop_accepts_at_the_last_moment_is_served_too(turns: int, listener: socket.socket) -> None:
    """The end may come in any of the loop's turns between a connection and its protocol."""
    made: list[asyncio.Protocol] = []
    served: list[int] = []

    class Noting(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(self)

    async def run() -> None:
        ours = listener.dup()
        server = await asyncio.get_running_loop().create_server(Noting, sock=ours)
        await asyncio.sleep(0.05)  # until the loop polls the socket: before that, nothing is accepted
        with socket.create_connection(listener.getsockname()):
            for _ in range(turns):
                await asyncio.sleep(0)
            try:
                await queued.close(server, ours, 10, Noting)
                served.append(len(made))
            finally:
                server.close()

    uvloop.run(run())
    assert served == [1]
