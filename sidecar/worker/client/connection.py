"""One client connection: turns bytes into exchanges and answers into bytes.

One request at a time for each connection; pipelined ones wait in the buffer. Nothing is answered here but what `Serving` decides.
"""

from __future__ import annotations

import asyncio
from typing import cast

from sidecar.refusals import REQUEST_TIMEOUT, Refused
from sidecar.worker.client.address import peer_of
from sidecar.worker.client.admission import admit
from sidecar.worker.client.body import NO_BODY, RequestBody
from sidecar.worker.client.exchange import Exchange, HandedOver
from sidecar.worker.client.front import Front
from sidecar.worker.client.head import skip_blank_lines
from sidecar.worker.client.linger import Linger
from sidecar.worker.client.patience import await_head, await_reader, await_rest, close, disarm_all, leave_at_once
from sidecar.worker.client.request_head import RequestHead
from sidecar.worker.client.reset import reset, would_reset
from sidecar.worker.drive import Signal

PIPELINED = 64 << 10
"""Bytes of further requests that wait while one is served; beyond it the client is held back."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ClientConnection(asyncio.Protocol):
    """The protocol object of one client connection."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._buffer = bytearray()
        self._scanned = 0
        self._blank_lines = 0
        self._layout: object = None
        """How the last head was written: a client writes the next one alike."""
        self._exchange: Exchange | None = None
        self._held = 0
        """Holds on reading that were not undone yet."""
        self._writing_paused = False
        self._write_room = Signal(front.loop)
        self._unread = False
        """A whole answer is written that the client has yet to take, before anything else of it is served."""
        self._lost = False
        self.is_fresh = True
        self._lingers: Linger | None = None
        self.peer = ""
        """Address of the other end; empty on a unix socket."""

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.peer = peer_of(transport)
        admit(self._front, self)

    def data_received(self, data: bytes) -> None:
        if self._lingers is not None:
            if self._lingers.takes(len(data)):
                self._front.linger_deadline.arm(self)
            else:
                self.abort()
            return
        exchange = self._exchange
        if exchange is not None:
            if not exchange.body.complete:
                self._front.body_deadline.arm(self)
                rest = exchange.body.feed(data)
                if rest is None:
                    return
                self._front.body_deadline.disarm(self)
                data = rest
            self._buffer += data
            if len(self._buffer) > PIPELINED:
                self.hold()
            return
        self._buffer += data
        self._advance()

    def eof_received(self) -> bool:
        # A half-closed client cannot be told from one that has left; like nginx, it counts as gone.
        if self.unsent:
            # The transport says so, and that there is room, only when that is taken, which may be never.
            await_reader(self._front, self, self._transport)
            if self._exchange is not None:
                self._exchange.leave()
                self._write_room.wake_soon()
        return False

    def connection_lost(self, _exc: Exception | None) -> None:
        self._lost = True
        self._front.connections.discard(self)
        disarm_all(self._front, self)
        self._write_room.wake_soon()
        if self._exchange is not None:
            self._exchange.leave()

    def pause_writing(self) -> None:
        self._writing_paused = True
        await_reader(self._front, self, self._transport)

    def resume_writing(self) -> None:
        self._writing_paused = False
        if not self._transport.is_closing():
            # Else it waits for the client to take the little that is left, which may be never.
            self._front.write_deadline.disarm(self)
        self._write_room.wake_soon()
        if self._unread:
            self._unread = False
            self._conclude(keep_alive=True)

    # What the gateway calls

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return self._front.scheme

    @property
    def draining(self) -> bool:
        """Whether this worker is about to end: answers should say `Connection: close`."""
        return self._front.draining

    def write(self, data: bytes) -> None:
        """Send bytes of an answer; nothing when the client has left, or was told all that it will be."""
        if self._lingers is None and not self._transport.is_closing():
            self._transport.write(data)

    async def writable(self) -> None:
        """Wait until the client has read enough; returns at once when it has left."""
        while self._writing_paused and not self._transport.is_closing():
            await self._write_room

    def finish(self, data: bytes, keep_alive: bool) -> None:
        """Send the last bytes of an answer; serve the next request or close."""
        if self._lingers is not None or self._transport.is_closing():
            return
        self._transport.write(data)
        if self._writing_paused and keep_alive:
            # A client that reads no answers must not make us gather them: its next request waits.
            self._unread = True
        else:
            self._conclude(keep_alive)

    def _conclude(self, keep_alive: bool) -> None:
        exchange = self._exchange
        if exchange is not None and exchange.body.complete and keep_alive and not self._front.draining:
            self._exchange = None
            self._next()
        else:
            self._close_after_answer()

    def abort(self) -> None:
        """Break off: what was sent never looks complete."""
        if not self._lost:
            reset(self._transport)

    def close_if_idle(self) -> None:
        """Close when no request is under way, nor has come in; what has come in on an idle connection gets the time of a head."""
        if self._exchange is None and not self._buffer:
            if not would_reset(self._transport):
                close(self._front, self, self._transport)
            elif not self.is_fresh and self._lingers is None:
                # The others have a time already that goes on.
                await_head(self._front, self)

    def give_way(self) -> bool:
        """Leave for a new connection; whether that frees its place."""
        if not self._transport.is_closing():
            self.close_if_idle()
        return leave_at_once(self._front, self, self._transport)

    @property
    def unsent(self) -> int:
        """Bytes of answers that the client has not taken yet."""
        return 0 if self._lost else self._transport.get_write_buffer_size()

    def tunnel(self, receiver: asyncio.Protocol) -> HandedOver:
        """Hand the transport to `receiver` after an upgrade; returns it, and what goes with it."""
        self._front.hand_over(self)
        disarm_all(self._front, self)  # nobody tells this object any more when its client has read
        rest, self._buffer = bytes(self._buffer), bytearray()
        self._transport.set_protocol(receiver)
        if self._writing_paused:
            # The transport says once that it is full, and has done so: more would be gathered without bound.
            receiver.pause_writing()
        return self._transport, rest, self._front.socket_ended

    # Flow of the request body

    def hold(self) -> None:
        """Stop reading; holds nest."""
        self._held += 1
        if self._held == 1 and not self._transport.is_closing():
            self._transport.pause_reading()
            self._front.body_deadline.disarm(self)

    def release(self) -> None:
        """Undo one hold."""
        self._held -= 1
        if self._held == 0 and not self._transport.is_closing():
            self._transport.resume_reading()
            if self._exchange is not None and not self._exchange.body.complete:
                self._front.body_deadline.arm(self)

    def send_continue(self) -> None:
        """Ask for the body."""
        self.write(CONTINUE)
        self._front.body_deadline.arm(self)

    # Deadlines

    def header_expired(self) -> None:
        """The head did not arrive in time."""
        if self._buffer or (self._blank_lines and self.is_fresh):
            self._front.serving.reject(self, Refused(REQUEST_TIMEOUT))
        else:
            close(self._front, self, self._transport)

    def body_expired(self) -> None:
        """The body stopped arriving."""
        if self._exchange is not None:
            self._exchange.body.fail(Refused(REQUEST_TIMEOUT))

    # Reading requests

    def _next(self) -> None:
        front = self._front
        while self._held:
            self.release()
        if self._buffer:
            front.header_deadline.arm(self)
            # Not from here: a pipelined request would nest inside the answer of the one before it.
            front.loop.call_soon(self._advance)
        else:
            self._blank_lines = 0
            front.idle_deadline.arm(self)

    def _advance(self) -> None:
        if self._exchange is not None or self._lingers is not None or self._transport.is_closing():
            return
        front, buffer = self._front, self._buffer
        try:
            if buffer[:1] == b"\r":
                self._blank_lines = skip_blank_lines(buffer, self._blank_lines)
            end = front.heads.find_end(buffer, self._scanned)
            if end < 0:
                if not self._scanned:
                    front.idle_deadline.disarm(self)
                    # Over TLS the first head is within the time that began before the handshake.
                    if not self.is_fresh or front.scheme == "http":
                        front.header_deadline.arm(self)
                self._scanned = len(buffer)
                return
            head = front.known_heads.parse(bytes(buffer[:end]), self._layout)
        except Refused as refused:
            front.serving.reject(self, refused)
            return
        rest = bytes(buffer[end:])
        buffer.clear()
        self._layout = head.notes.layout
        self._scanned = self._blank_lines = 0
        self._begin(front, head, rest)

    def _begin(self, front: Front, head: RequestHead, rest: bytes) -> None:
        front.header_deadline.disarm(self)
        front.idle_deadline.disarm(self)
        self.is_fresh = False
        body = NO_BODY
        if head.has_body:
            body = RequestBody(self, head.content_length, head.chunked, front.bounds.body, head.expects_continue, front.room)
        self._exchange = Exchange(self, head, body, front.clock())
        if not body.complete:
            rest = (body.feed(rest) if rest else None) or b""
            if not body.complete and not body.is_awaited and not self._held:
                front.body_deadline.arm(self)
        self._buffer += rest
        front.drive(self._exchange)

    def _close_after_answer(self) -> None:
        """Close so that the client can still read the answer."""
        front, exchange = self._front, self._exchange
        front.header_deadline.disarm(self)
        front.idle_deadline.disarm(self)
        front.body_deadline.disarm(self)
        self._exchange = None
        if exchange is not None and exchange.body.complete and not self._buffer and not self._held:
            close(self._front, self, self._transport)
            return
        body = exchange.body if exchange is not None else NO_BODY
        self._lingers = Linger(body.length, body.received)
        self._buffer.clear()
        while self._held:
            self.release()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        await_rest(front, self)
