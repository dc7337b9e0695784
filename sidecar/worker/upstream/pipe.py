"""The two directions of a WebSocket: bytes from one transport to the other, held back and ended as either side does.

A peer may vanish without a word, so a socket lasts only while bytes come from either side, and while who is written to takes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Literal, cast

from sidecar.settings.declaration import Timeouts
from sidecar.taken import taken_bytes
from sidecar.worker.deadlines import DeadlineQueue, Ticker

Cause = Literal["", "silence", "client", "hub"]
"""Why a socket was cut: nobody said anything, or who did not read. Empty: it was not."""


class TunnelDeadlines:
    """What the sockets of one worker wait for, and for how long."""

    def __init__(self, timeouts: Timeouts, ticker: Ticker) -> None:
        self.silence: DeadlineQueue[Tunnel] = ticker.queue(timeouts.hub_idle, Tunnel.fell_silent)
        self.client: DeadlineQueue[Pipe] = ticker.queue(timeouts.write_idle, Pipe.source_is_deaf)
        self.hub: DeadlineQueue[Pipe] = ticker.queue(timeouts.hub_idle, Pipe.source_is_deaf)


class Tunnel:
    """One WebSocket, from the hub's 101 on."""

    def __init__(self, deadlines: TunnelDeadlines, progress: Callable[[], None]) -> None:
        """`progress` is called whenever bytes have come."""
        self._silence = deadlines.silence
        self._progress = progress
        self.to_hub = Pipe(self, deadlines.client, "client")
        self.to_client = Pipe(self, deadlines.hub, "hub")
        self.cut_for: Cause = ""

    def join(self, client: asyncio.Transport, hub: asyncio.Transport) -> None:
        """Begin to carry bytes between the two transports, whose protocols are `to_hub` and `to_client`."""
        self.moved()
        self.to_hub.join(client, hub)
        self.to_client.join(hub, client)

    def moved(self) -> None:
        """Bytes have come from either side."""
        self._silence.arm(self)
        self._progress()

    def fell_silent(self) -> None:
        """Nothing comes from either side."""
        if self.to_hub.is_full or self.to_client.is_full:
            # We do not listen to the other one meanwhile. Who does not take what was said is given up for that.
            self._silence.arm(self)
        else:
            self.cut("silence")

    def cut(self, cause: Cause) -> None:
        """Break both sides off."""
        self.cut_for = cause
        self.to_hub.abort()
        self.to_client.abort()

    async def ended(self) -> None:
        """Wait until both sides have ended."""
        try:
            await asyncio.gather(self.to_hub.ended, self.to_client.ended)
        finally:
            self._silence.disarm(self)
            self.to_hub.forget()
            self.to_client.forget()


class Pipe(asyncio.Protocol):
    """One direction: receives on `source`, writes to `sink`."""

    def __init__(self, tunnel: Tunnel, deadline: DeadlineQueue[Pipe], name: Cause) -> None:
        """`deadline` is for a source that does not take what is written to it; `name` says which side that is."""
        self._tunnel = tunnel
        self._deadline = deadline
        self._name: Cause = name
        self._source: asyncio.Transport = cast(asyncio.Transport, None)
        self._sink: asyncio.Transport = cast(asyncio.Transport, None)
        self._joined = False
        self.is_full = False
        """Whether the source takes no more of what is written to it."""
        self.moved = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def join(self, source: asyncio.Transport, sink: asyncio.Transport) -> None:
        """Tell both ends; the source may be full from what was written to it before."""
        self._source, self._sink = source, sink
        self._joined = True
        if self.is_full:
            self.pause_writing()

    def open(self) -> None:
        """Read the source on: one that sent too much before it was answered was held back."""
        if not self._source.is_closing():
            self._source.resume_reading()

    def ended_early(self) -> None:
        """End this direction if its source was lost before it was handed over: nobody will say so any more."""
        if self._source.is_closing():
            self.connection_lost(None)

    def abort(self) -> None:
        """Break the source off."""
        self._source.abort()

    def forget(self) -> None:
        """Nothing more is waited for."""
        self._deadline.disarm(self)

    def source_is_deaf(self) -> None:
        """The source has taken nothing of what is written to it for too long."""
        self._tunnel.cut(self._name)

    # What the source's transport calls

    def data_received(self, data: bytes) -> None:
        """Write it to the sink."""
        self._tunnel.moved()
        if data and not self._sink.is_closing():
            self.moved += len(data)
            self._sink.write(data)

    def pause_writing(self) -> None:
        """The source takes no more: hold the other side back, and do not wait for ever."""
        self.is_full = True
        if not self._joined:
            return
        self._deadline.watch(self, partial(taken_bytes, self._source))
        # This protocol's own transport is full: the other direction feeds it.
        if not self._sink.is_closing():
            self._sink.pause_reading()

    def resume_writing(self) -> None:
        """It does again."""
        self.is_full = False
        if not self._joined:
            return
        if not self._source.is_closing():
            # Else it waits for the little that is left to be taken, which may be never.
            self._deadline.disarm(self)
        if not self._sink.is_closing():
            self._sink.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the sink as the source has ended."""
        self._deadline.disarm(self)
        if exc is None:
            self._sink.close()
        else:
            # A reset must stay a reset: a clean end would look like an agreed one.
            self._sink.abort()
        if not self.ended.done():
            self.ended.set_result(None)
