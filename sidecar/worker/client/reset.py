"""Breaks a connection off by a reset: a plain close would look like the end of a body that ends with its connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

_NO_LINGER = struct.pack("ii", 1, 0)


def reset(transport: asyncio.Transport) -> None:
    """Abort `transport`, whose connection must not be lost yet: its descriptor could be another's by now."""
    endpoint = transport.get_extra_info("socket")
    if endpoint is not None:
        # ValueError: the socket is closed already, so that its descriptor is -1.
        with contextlib.suppress(OSError, ValueError):
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
