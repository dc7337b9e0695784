"""The end of a listening socket: whoever has connected until then is served, not reset."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from sidecar.worker.tls import GOODBYE

PATIENCE = 1.0
"""Seconds that a TLS client among them has for its handshake."""


async def close(
    server: asyncio.AbstractServer,
    listener: socket.socket,
    most: int,
    protocol: Callable[[], asyncio.Protocol],
    context: ssl.SSLContext | None,
) -> None:
    """Close `server` and its `listener`; when this returns, everybody who had connected is a connection of `protocol`.

    At most `most` who waited in the kernel's queue: others may hold the socket too, but we may be the last.
    """
    last = listener.dup()
    server.close()
    taken = take(last, most)
    # Whom the loop itself has accepted a moment ago becomes a connection in its next turn, or after the handshake.
    settled = asyncio.sleep(0 if context is None else PATIENCE)
    await asyncio.gather(settled, serve(taken, protocol, context))


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


async def serve(taken: list[socket.socket], protocol: Callable[[], asyncio.Protocol], context: ssl.SSLContext | None) -> None:
    """Serve the connections `taken`, as if they had been accepted by a server of the running loop."""
    loop = asyncio.get_running_loop()
    patience, goodbye = (PATIENCE, GOODBYE) if context is not None else (None, None)
    await asyncio.gather(
        *(
            loop.connect_accepted_socket(protocol, one, ssl=context, ssl_handshake_timeout=patience, ssl_shutdown_timeout=goodbye)
            for one in taken
        ),
        return_exceptions=True,  # who has left, or speaks no TLS, is nobody's loss
    )
