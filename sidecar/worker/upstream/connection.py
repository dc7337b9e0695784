"""One HTTP/1.1 connection to the hub, one exchange at a time.

A small answer arrives in one read and is handed over whole; a long one piece by piece, with the hub
held back while nobody reads. An answer that breaks off is an error, never an end.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools

from sidecar.worker.deadlines import DeadlineQueue

HIGH_WATER = 256 << 10
LONGEST_HEAD = 64 << 10
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_KEEP_ALIVE_TIMEOUT = re.compile(rb"timeout=(\d+)")


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
    ) -> None:
        self._loop = loop
        self._first_byte_deadline = first_byte_deadline
        self._idle_deadline = idle_deadline
        self._closed = closed
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._writing_paused = False
        self._held = False
        self._busy = False
        self.idle_since = 0.0
        self.idle_patience = float("inf")
        """What the hub's `Keep-Alive: timeout=` promises, in seconds."""
        self.upgraded: bytes | None = None
        """After 101: the first bytes of the other protocol."""
        self._reset(b"GET")

    def _reset(self, method: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.status = 0
        self._head_size = 0
        self._head_complete = False
        self._headless_body = method == b"HEAD"
        self._pieces: deque[bytes] = deque()
        self._buffered = 0
        self._complete = False
        self.request_complete = False
        self._counted = False
        self._keep_alive = False
        self._fault: HubFault | None = None

    # What the exchange calls

    def start(self, method: bytes) -> None:
        """Get ready for the next exchange."""
        self._reset(method)
        self._busy = True

    def send(self, data: bytes) -> None:
        """Send bytes of the request."""
        self._transport.write(data)

    def sent(self) -> None:
        """The request is complete: the hub's first byte is awaited from now on."""
        self.request_complete = True
        if not self._head_complete and self._fault is None:
            self._first_byte_deadline.arm(self)

    async def writable(self) -> None:
        """Wait until the hub has read enough."""
        while self._writing_paused and self._fault is None:
            self._writable = self._loop.create_future()
            await self._writable

    async def head(self) -> int:
        """Wait for the answer's head; returns its status, `headers` has its fields. Raises HubFault."""
        while not self._head_complete:
            await self._wait()
        return self.status

    def whole(self) -> bytes | None:
        """The whole body, if it is here and none of it was read; else None."""
        if not self._complete or self._fault is not None:
            return None
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._buffered = 0
        return data

    async def read(self) -> tuple[bytes, bool]:
        """The next bytes of the body and whether they are the last. Raises HubFault."""
        while not self._pieces and not self._complete:
            await self._wait()
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._buffered = 0
        if self._held and self._fault is None:
            self._held = False
            self._transport.resume_reading()
            self._idle_deadline.arm(self)
        return data, self._complete

    @property
    def answered(self) -> bool:
        """Whether any of the answer is here."""
        return self._head_complete

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow: request and answer are complete, both sides keep the connection."""
        return self._complete and self.request_complete and self._keep_alive and self._fault is None and not self._transport.is_closing()

    @property
    def is_closing(self) -> bool:
        """Whether the hub or we have ended it."""
        return self._transport.is_closing()

    def finish(self) -> None:
        """End the exchange."""
        self._busy = False
        self._first_byte_deadline.disarm(self)
        self._idle_deadline.disarm(self)

    def close(self) -> None:
        """Close an idle connection."""
        self._transport.close()

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

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            # Bytes that nobody asked for would be taken for the next answer.
            self._transport.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.upgraded = data[upgrade.args[0] :] if upgrade.args else b""
            self._complete = self._head_complete = True
        except httptools.HttpParserError:
            self._fail(HubFault("invalid_answer"))
            self._transport.abort()
            return
        if self._complete:
            self._idle_deadline.disarm(self)
        elif self._head_complete:
            self._idle_deadline.arm(self)
            if self._buffered > HIGH_WATER and not self._held:
                self._held = True
                self._transport.pause_reading()
                self._idle_deadline.disarm(self)
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._head_complete and not self._counted and not self._complete and exc is None and self._fault is None:
            # Neither length nor chunks: the end of the connection is the end of the body (RFC 9112 6.3 item 8).
            self._complete = True
            self._wake()
        elif not self._complete:
            self._fail(HubFault("broke_off" if self._head_complete else "closed"))
        self.finish()
        self._wake_writer()
        self._closed(self)

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._wake_writer()

    def first_byte_expired(self) -> None:
        """The hub does not answer."""
        self._fail(HubFault("timeout"))
        self._transport.abort()

    # What the parser calls

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value) + 4
        if self._head_size > LONGEST_HEAD or _BAD_VALUE.search(value):
            raise ValueError("a header field of the answer is too long or has control characters")
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            # Interim answers end here: 100 was never asked for, 103 is of no use to an API client.
            self.headers = []
            return
        self.status = status
        self._keep_alive = self._parser.should_keep_alive()
        for name, value in self.headers:
            lowered = name.lower()
            if lowered in (b"content-length", b"transfer-encoding"):
                self._counted = True
            elif lowered == b"keep-alive" and (match := _KEEP_ALIVE_TIMEOUT.search(value)):
                self.idle_patience = max(0.0, int(match[1]) - 1.0)
        self._first_byte_deadline.disarm(self)
        self._head_complete = True
        if self._headless_body:
            # llhttp cannot know that HEAD has no body, so this parser is of no further use.
            self._complete, self._keep_alive = True, False

    def on_body(self, data: bytes) -> None:
        if not self._headless_body:
            self._pieces.append(data)
            self._buffered += len(data)

    def on_message_complete(self) -> None:
        if self._head_complete:
            self._complete = True

    # Waiting

    async def _wait(self) -> None:
        if self._fault is not None:
            raise self._fault
        self._waiter = self._loop.create_future()
        await self._waiter

    def _fail(self, fault: HubFault) -> None:
        if self._fault is None:
            self._fault = fault
        self._wake()
        self._wake_writer()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _wake_writer(self) -> None:
        waiter, self._writable = self._writable, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
