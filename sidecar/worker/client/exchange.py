"""One request on a client connection, as the line sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from sidecar.worker.client.body import ClientGone, RequestBody
from sidecar.worker.client.request_head import RequestHead

HandedOver = tuple[asyncio.Transport, bytes, Callable[[], None]]
"""A connection that has become a WebSocket: its transport, the bytes already read, and what to call at the end."""


class Connection(Protocol):
    """What the line may do with a client's connection."""

    peer: str

    @property
    def scheme(self) -> str:
        """`http` or `https`."""

    @property
    def draining(self) -> bool:
        """Whether this worker is about to end: answers should say `Connection: close`."""

    def write(self, data: bytes) -> None:
        """Send bytes of an answer."""

    def writable(self) -> Awaitable[None]:
        """Wait until the client has read enough; returns at once when it has left."""

    def finish(self, data: bytes, keep_alive: bool) -> None:
        """Send the last bytes of an answer; serve the next request or close."""

    def abort(self) -> None:
        """Break off: what was sent never looks complete."""

    def tunnel(self, receiver: asyncio.Protocol) -> HandedOver:
        """Hand the transport to `receiver` after an upgrade; returns it, and what goes with it."""


class Exchange:
    """One request on a connection, and where its answer goes."""

    __slots__ = ("answered", "body", "connection", "cut", "gone", "head", "on_gone", "started")

    def __init__(self, connection: Connection, head: RequestHead, body: RequestBody, started: float) -> None:
        self.connection = connection
        self.head = head
        self.body = body
        self.started = started
        """When the head was complete, in seconds of `Front.clock`."""
        self.gone = False
        """The client has left, or was told all that it will be."""
        self.answered = False
        """An answer has begun to go out: nothing else can be told any more."""
        self.on_gone: Callable[[], None] | None = None
        """Called once when the client leaves."""
        self.cut: Callable[[], None] = connection.abort
        """Breaks the request off."""

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection may serve another request after an answer that begins now, and says so."""
        return self.head.keep_alive and self.body.complete and not self.connection.draining

    @property
    def keeps_alive_unsaid(self) -> bool:
        """The same for an answer that never says `keep-alive`, as our own do not: to a client of HTTP/1.0 it then ends the connection."""
        head = self.head
        return head.keep_alive and head.minor_version == 1 and self.body.complete and not self.connection.draining

    def leave(self) -> None:
        """Nobody waits for an answer any more."""
        self.gone = True
        self.body.fail(ClientGone())
        on_gone, self.on_gone = self.on_gone, None
        if on_gone is not None:
            on_gone()
