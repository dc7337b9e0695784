"""What all client connections of a worker share: bounds, deadlines, and the line that serves them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from sidecar.refusals import Refused
from sidecar.settings.declaration import Proxy
from sidecar.worker.client.exchange import Connection, Exchange
from sidecar.worker.client.head import HeadReader
from sidecar.worker.deadlines import DeadlineQueue, Ticker

LINGER_SECONDS = 1.0


class Timed(Connection, Protocol):
    """A connection as its deadlines see it."""

    def header_expired(self) -> None:
        """The head did not arrive in time."""

    def idle_expired(self) -> None:
        """Nobody needs this connection."""

    def body_expired(self) -> None:
        """The body stopped arriving."""

    def close_if_idle(self) -> None:
        """Close when no request is under way."""

    def __hash__(self) -> int: ...


class Serving(Protocol):
    """What the connection hands its requests to."""

    def serve(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        """Answer a request, whatever happens."""

    def reject(self, connection: Connection, refused: Refused) -> None:
        """Answer bytes that are not a request."""


class Front:
    """What all connections of a worker share."""

    def __init__(self, settings: Proxy, loop: asyncio.AbstractEventLoop, ticker: Ticker, serving: Serving, scheme: str) -> None:
        timeouts = settings.timeouts
        self.loop = loop
        self.bounds = settings.bounds
        self.serving = serving
        self.scheme = scheme
        self.heads = HeadReader(settings.bounds)
        self.connections: set[Timed] = set()
        self.draining = False
        self.header_deadline: DeadlineQueue[Timed] = ticker.queue(timeouts.header, lambda connection: connection.header_expired())
        self.idle_deadline: DeadlineQueue[Timed] = ticker.queue(timeouts.keep_alive, lambda connection: connection.idle_expired())
        self.body_deadline: DeadlineQueue[Timed] = ticker.queue(timeouts.body_idle, lambda connection: connection.body_expired())
        self.write_deadline: DeadlineQueue[Timed] = ticker.queue(timeouts.write_idle, lambda connection: connection.abort())
        self.linger_deadline: DeadlineQueue[Timed] = ticker.queue(LINGER_SECONDS, lambda connection: connection.idle_expired())
        self.tasks: set[asyncio.Task[None]] = set()

    def drain(self) -> None:
        """Close idle connections now and the others after their answer."""
        self.draining = True
        for connection in list(self.connections):
            connection.close_if_idle()
