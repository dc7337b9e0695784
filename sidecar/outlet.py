"""Writing to a pipe, a socket or a terminal without ever waiting for its reader.

Standard error is shared with the processes beside this one, and so is whether writing to it waits: that must not be
changed. What is opened here is this process's own way to the same place.
"""

from __future__ import annotations

import os
import select
import socket
import stat
from collections.abc import Callable
from typing import TextIO

_PIECE = 4096
"""Bytes that a pipe which can be written to takes without waiting (PIPE_BUF, pipe(7))."""


class Outlet:
    """`send` takes what it is given as far as there is room, or raises BlockingIOError; `end` closes what it writes to."""

    def __init__(self, fd: int, send: Callable[[memoryview], int], end: Callable[[], None]) -> None:
        self._fd = fd
        self._send = send
        self.close = end

    def take(self, data: memoryview) -> int:
        """How many of the bytes there was room for; raises OSError when nobody can read there any more."""
        try:
            return self._send(data)
        except BlockingIOError:
            return 0

    def has_room(self, within: float) -> bool:
        """Whether there is some within so many seconds."""
        return _has_room(self._fd, within)


def open_outlet(stream: TextIO) -> Outlet | None:
    """The outlet to where `stream` goes; None for what never waits, such as a file."""
    try:
        fd = stream.fileno()
        mode = os.fstat(fd).st_mode
    except (OSError, ValueError):
        return None
    if stat.S_ISSOCK(mode):
        own = socket.socket(fileno=os.dup(fd))
        return Outlet(fd, lambda data: own.send(data, socket.MSG_DONTWAIT), own.close)
    return _reopened(fd) if stat.S_ISFIFO(mode) or os.isatty(fd) else None


def _reopened(fd: int) -> Outlet:
    try:
        own = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        # It belongs to another user, as where a container gives up its rights.
        return Outlet(fd, lambda data: _write_piece(fd, data), lambda: None)
    return Outlet(own, lambda data: os.write(own, data), lambda: os.close(own))


def _write_piece(fd: int, data: memoryview) -> int:
    return os.write(fd, data[:_PIECE]) if _has_room(fd, 0.0) else 0


def _has_room(fd: int, within: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(within * 1000))
