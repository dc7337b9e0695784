"""How much of a request that was answered early is still read (RFC 9112 9.6).

Most clients read only when they have sent everything, and a reset before would take the answer from them. So a body
of a usual size is read to its end; of one that is larger, or tells no size, no more than a little, for nobody needs a
key to send it.
"""

from __future__ import annotations

LARGEST = 64 << 20
"""Bytes of a body that is read to its end: pictures and recordings are smaller."""
SLACK = 256 << 10
"""Bytes that are read in any case."""
PAUSE, MOST = 2.0, 30.0
"""Seconds that a client may pause in what it still sends, and that it may go on with it."""


class Linger:
    """What one connection may still send. `declared` and `received` are bytes of its body."""

    __slots__ = ("_bytes",)

    def __init__(self, declared: int | None, received: int) -> None:
        self._bytes = SLACK
        if declared is not None and declared <= LARGEST:
            self._bytes += max(0, declared - received)

    def takes(self, size: int) -> bool:
        """Whether `size` more bytes are waited for."""
        self._bytes -= size
        return self._bytes >= 0
