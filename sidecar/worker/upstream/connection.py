"""One HTTP/1.1 connection to the hub, one exchange at a time.

A small answer arrives in one read and is handed over whole; a long one piece by piece, with the hub
held back while nobody reads. An answer that breaks off is an error, never an end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from functools import partial
from typing import cast

from sidecar.taken import taken_bytes
from sidecar.worker.deadlines import DeadlineQueue
from sidecar.worker.drive import Signal
from sidecar.worker.tls import hold_back_at_once
from sidecar.worker.upstream.parser import AnswerParser, InvalidAnswer
from sidecar.worker.upstream.plain import PlainReader

HIGH_WATER = 256 << 10
"""Bytes of an answer that wait to be read, beyond which the hub is held back."""


class HubFault(Exception):
    """The hub did not give a whole, valid answer; `reason` is a metric label."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class HubConnection(asyncio.Protocol):
    """Sends a request, reads its answer. Not reusable unless `reusable` says so."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        first_byte_deadline: DeadlineQueue[HubConnection],
        idle_deadline: DeadlineQueue[HubConnection],
        closed: Callable[[HubConnection], None],
        plain: PlainReader,
    ) -> None:
        self._loop = loop
        self._first_byte_deadline = first_byte_deadline
        self._idle_deadline = idle_deadline
        self._closed = closed
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._answer = AnswerParser(plain)
        self._news = Signal(loop)
        """Woken when more of the answer is here, or when nothing more will come."""
        self._write_room = Signal(loop)
        """Woken when the hub has taken enough of the request, or will take no more."""
        self._writing_paused = False
        self._held = False
        self._busy = False
        self.idle_since = 0.0
        self.request_complete = False
        self._fault: HubFault | None = None

    # What the exchange calls

    def start(self, method: bytes) -> None:
        """Get ready for the next exchange."""
        # A fault stays: only a lost connection has one here, and nobody would say a second time that it is lost.
        self._answer.start(method)
        self.request_complete = False
        self._busy = True

    def send(self, data: bytes) -> None:
        """Send bytes of the request; nothing when the connection is lost, which `head` and `read` will say."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def sent(self) -> None:
        """The request is complete: the hub's first byte is awaited from now on."""
        self.request_complete = True
        if not self._answer.head_complete and self._fault is None:
            self._first_byte_deadline.arm(self)
        elif self in self._idle_deadline:
            # It has had nothing to go by until now.
            self._idle_deadline.arm(self)

    async def writable(self) -> None:
        """Wait until the hub has read enough."""
        while self._writing_paused and self._fault is None:
            await self._write_room

    async def head(self) -> int:
        """Wait for the answer's head; returns its status, `headers` has its fields. Raises HubFault."""
        answer = self._answer
        while not answer.head_complete:
            self._require_hub()
            await self._news
        return answer.status

    def whole(self) -> bytes | None:
        """The whole body, if it is here and none of it was read; else None."""
        if not self._answer.complete or self._fault is not None:
            return None
        return self._answer.take()

    def here(self) -> bytes:
        """What has come of the body so far, left where it is for `read` or `whole`."""
        return b"".join(self._answer.pieces)

    async def read(self) -> tuple[bytes, bool]:
        """The next bytes of the body and whether they are the last. Raises HubFault."""
        answer = self._answer
        while not answer.pieces and not answer.complete:
            self._require_hub()
            await self._news
        data = answer.take()
        if self._held and self._fault is None:
            self._held = False
            self._transport.resume_reading()
            self._idle_deadline.arm(self)
        return data, answer.complete

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The fields of the answer's head."""
        return self._answer.headers

    @property
    def upgraded(self) -> bytes | None:
        """After 101: the first bytes of the other protocol."""
        return self._answer.upgraded

    @property
    def complete(self) -> bool:
        """Whether the whole answer is here."""
        return self._answer.complete

    @property
    def idle_patience(self) -> float:
        """What the hub's `Keep-Alive: timeout=` promises, in seconds."""
        return self._answer.idle_patience

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow: request and answer are complete, both sides keep the connection."""
        kept = self._answer.clean and self.request_complete and self._fault is None and not self._transport.is_closing()
        # One that has answered without reading all would not read the next request either, and nobody would wait for that.
        return kept and not self._writing_paused

    @property
    def is_closing(self) -> bool:
        """Whether the hub or we have ended it."""
        return self._transport.is_closing()

    @property
    def unsent(self) -> int:
        """Bytes that the hub has not taken yet."""
        return self._transport.get_write_buffer_size()

    def finish(self) -> None:
        """End the exchange."""
        self._busy = False
        self._first_byte_deadline.disarm(self)
        self._idle_deadline.disarm(self)

    def close(self) -> None:
        """Close an idle connection."""
        self._transport.close()
        if self._transport.get_extra_info("sslcontext") is not None:
            # Ours has gone out by the loop's next turn. The hub's farewell may never come, and its connection would keep a place.
            self._loop.call_soon(self._transport.abort)

    def abort(self, reason: str = "aborted") -> None:
        """Break off: the hub must not take the request for complete."""
        self._fail(HubFault(reason))
        self._transport.abort()

    def tunnel(self, receiver: asyncio.Protocol) -> asyncio.Transport:
        """Hand the transport to `receiver` after an upgrade."""
        self._transport.set_protocol(receiver)
        return self._transport

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        hold_back_at_once(self._transport)

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            # Bytes that nobody asked for would be taken for the next answer.
            self._transport.abort()
            return
        answer = self._answer
        begun = answer.head_complete
        try:
            answer.feed(data)
        except InvalidAnswer:
            self.abort("invalid_answer")
            return
        if answer.complete:
            self._first_byte_deadline.disarm(self)
            self._idle_deadline.disarm(self)
        elif answer.head_complete:
            if not begun:
                self._first_byte_deadline.disarm(self)
            if self._writing_paused:
                # From now on it is the answer that must make progress, not the request.
                self._idle_deadline.disarm(self)
            self._idle_deadline.arm(self)
            if answer.buffered > HIGH_WATER and not self._held:
                self._held = True
                self._transport.pause_reading()
                self._idle_deadline.disarm(self)
        self._news.wake()

    def eof_received(self) -> None:
        # Over TLS this is the hub's close_notify; a mere end of the TCP connection, which anybody on the way can make, is not told here.
        answer = self._answer
        if answer.head_complete and not answer.counted and self._fault is None:
            # Neither length nor chunks: the end of the connection is the end of the body (RFC 9112 6.3 item 8, 9.8).
            answer.complete = True
            self._news.wake_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        answer = self._answer
        # Lost to a fault of ours, the hub may still send, without end.
        if isinstance(exc, OSError) and self._busy:
            self._read_rest()
        if not answer.complete or not self._busy:
            self._fail(HubFault("broke_off" if answer.head_complete and self._busy else "closed"))
        self.finish()
        self._write_room.wake_soon()
        self._closed(self)

    def pause_writing(self) -> None:
        self._writing_paused = True
        if not self._answer.head_complete:
            # A hub that neither reads nor answers: no other deadline runs while an upload is under way.
            self._idle_deadline.watch(self, partial(taken_bytes, self._transport))

    def resume_writing(self) -> None:
        self._writing_paused = False
        if not self._answer.head_complete:
            self._idle_deadline.disarm(self)
        self._write_room.wake_soon()

    def expired(self) -> None:
        """The hub does not answer, does not go on with its answer, or takes nothing of the request."""
        if self._answer.head_complete and not self.request_complete and not self._writing_paused:
            # It waits, as we do, for the rest of the client's request, which has a deadline of its own.
            self._idle_deadline.arm(self)
        else:
            self.abort("timeout")

    def _read_rest(self) -> None:
        """Take what the hub had said when it broke off.

        Who answers before it has all of the request, such as 413, and closes, resets the connection. What we write then may meet the
        reset before its answer was read, and the transport reads no more after that.
        """
        answer, endpoint = self._answer, self._transport.get_extra_info("socket")
        if endpoint is None or self._transport.get_extra_info("sslcontext") is not None:
            return
        # ValueError: the socket is closed already, so that its descriptor is -1.
        with contextlib.suppress(InvalidAnswer, OSError, ValueError):
            while not answer.complete and (data := os.read(endpoint.fileno(), HIGH_WATER)):
                answer.feed(data)
        self._news.wake_soon()

    # Waiting

    def _require_hub(self) -> None:
        """Raise HubFault when nothing more will come, so that there is nothing to wait for."""
        if self._fault is not None:
            raise self._fault

    def _fail(self, fault: HubFault) -> None:
        if self._fault is None:
            self._fault = fault
        self._news.wake_soon()
        self._write_room.wake_soon()
