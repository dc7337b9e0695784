"""Breaks a connection off by a reset: a plain close would look like the end of a body that ends with its connection."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios

_NO_LINGER = struct.pack("ii", 1, 0)
_WAITING = struct.Struct("i")


def reset(transport: asyncio.Transport) -> None:
    """Abort `transport`, whose connection must not be lost yet: its descriptor could be another's by now."""
    endpoint = transport.get_extra_info("socket")
    if endpoint is not None:
        # ValueError: the socket is closed already, so that its descriptor is -1.
        with contextlib.suppress(OSError, ValueError):
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


def would_reset(transport: asyncio.Transport) -> bool:
    """Whether a plain close would break the connection off too: bytes have come that nobody has read, most likely a request."""
    endpoint = transport.get_extra_info("socket")
    waiting = 0
    if endpoint is not None:
        with contextlib.suppress(OSError, ValueError):
            waiting = _WAITING.unpack(fcntl.ioctl(endpoint.fileno(), termios.FIONREAD, bytes(_WAITING.size)))[0]
    return waiting > 0
