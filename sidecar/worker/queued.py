"""The end of a listening socket: whoever has connected until then is served, not reset."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable


async def close(server: asyncio.AbstractServer, listener: socket.socket, most: int, protocol: Callable[[], asyncio.Protocol]) -> None:
    """Close `server` and its `listener`; when this returns, everybody who had connected is a connection of `protocol`.

    At most `most` who waited in the kernel's queue: others may hold the socket too, but we may be the last.
    """
    last = listener.dup()
    server.close()
    # Whom the loop itself has accepted a moment ago becomes a connection in its next turn.
    await asyncio.gather(asyncio.sleep(0), serve(take(last, most), protocol))


def take(listener: socket.socket, most: int) -> list[socket.socket]:
    """Close `listener`, which does not block, and return the connections that waited in it, at most `most`."""
    taken: list[socket.socket] = []
    with listener:
        while len(taken) < most:
            try:
                taken.append(listener.accept()[0])
            except OSError:  # none is left, or no descriptor for it
                break
    return taken


async def serve(taken: list[socket.socket], protocol: Callable[[], asyncio.Protocol]) -> None:
    """Serve the connections `taken`, as if they had been accepted by a server of the running loop."""
    loop = asyncio.get_running_loop()
    await asyncio.gather(
        *(loop.connect_accepted_socket(protocol, one) for one in taken),
        return_exceptions=True,  # who has left is nobody's loss
    )
