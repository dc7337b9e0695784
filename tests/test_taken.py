"""What a peer has taken, of every kind of connection: it grows when it reads, and only then."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from sidecar.taken import taken_bytes


@contextlib.asynccontextmanager
async def full(family: socket.AddressFamily) -> AsyncIterator[tuple[asyncio.Transport, socket.socket]]:
    """A transport with more written to it than its peer's small buffer can hold, and the peer, which has read nothing."""
    loop = asyncio.get_running_loop()
    if family == socket.AF_UNIX:
        ours, peer = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            peer = socket.socket()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.connect(listener.getsockname())
            ours, _ = listener.accept()
    for end in (ours, peer):
        end.setblocking(False)
    if family == socket.AF_UNIX:
        transport, _ = await loop.create_unix_connection(asyncio.Protocol, sock=ours)
    else:
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    transport.write(bytes(8_000_000))
    try:
        yield transport, peer
    finally:
        transport.abort()
        peer.close()


async def settled(transport: asyncio.Transport) -> int:
    """What is taken once the kernel has nothing left to pass on."""
    async with asyncio.timeout(20):
        taken, last = taken_bytes(transport), None
        while taken != last:
            await asyncio.sleep(0.1)
            taken, last = taken_bytes(transport), taken
    return taken


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX], ids=["tcp", "unix"])
def test_it_grows_by_little_that_is_read_while_the_buffer_of_the_transport_says_nothing(
    family: socket.AddressFamily, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    run(_grows(family))


async def _grows(family: socket.AddressFamily) -> None:
    loop = asyncio.get_running_loop()
    async with full(family) as (transport, peer):
        before = await settled(transport)
        buffered = transport.get_write_buffer_size()
        assert buffered, "the kernel took it all"
        read = 0
        async with asyncio.timeout(20):
            while taken_bytes(transport) <= before:
                read += len(await loop.sock_recv(peer, 1000))
                await asyncio.sleep(0)
        assert read < 200_000
        assert transport.get_write_buffer_size() == buffered


async def test_a_transport_without_a_socket_tells_by_its_buffer() -> None:
    class Wire(asyncio.Transport):
        buffered = 10

        def get_write_buffer_size(self) -> int:
            return self.buffered

    wire = Wire()
    before = taken_bytes(wire)
    wire.buffered = 3
    assert taken_bytes(wire) - before == 7
