"""How much of what was written to a connection its other end has taken."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios

_ACKNOWLEDGED = struct.Struct("=120xQ")
"""Linux's `struct tcp_info` as far as `tcpi_bytes_acked`."""
_QUEUED = struct.Struct("i")


def taken_bytes(transport: asyncio.Transport) -> int:
    """A number that grows by the bytes that the other end takes; what it begins with means nothing.

    The transport's own buffer would not tell: the kernel fetches from it only now and then, a megabyte at a time if its queue is
    as long, and with TLS there is another buffer between the two. `transport` must not be lost yet, since its descriptor could be
    another's by now.
    """
    endpoint = transport.get_extra_info("socket")
    if endpoint is None:
        return -transport.get_write_buffer_size()
    with contextlib.suppress(OSError, ValueError, struct.error):
        # Counts from the connection's begin, so nothing that is written meanwhile hides it. Some kernels say nothing, or 0.
        if acknowledged := _ACKNOWLEDGED.unpack(endpoint.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED.size))[0]:
            return int(acknowledged)
    queued = 0
    with contextlib.suppress(OSError, ValueError):
        # A unix socket's: there is no count, but what waits becomes less.
        queued = _QUEUED.unpack(fcntl.ioctl(endpoint.fileno(), termios.TIOCOUTQ, bytes(_QUEUED.size)))[0]
    return -(queued + transport.get_write_buffer_size())
