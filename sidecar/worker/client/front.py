"""What all client connections of a worker share: bounds, deadlines, and the line that serves them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from sidecar.refusals import Refused
from sidecar.settings.declaration import Proxy
from sidecar.worker.client.exchange import Connection, Exchange
from sidecar.worker.client.head import HeadReader
from sidecar.worker.client.known_heads import KnownHeads
from sidecar.worker.client.linger import MOST, PAUSE
from sidecar.worker.client.room import Room
from sidecar.worker.deadlines import DeadlineQueue, Ticker
from sidecar.worker.drive import Drive
from sidecar.worker.tls import NEVER

OVERSHOOT = 512
"""Connections beyond the bound that are told so; further ones are closed without a word."""
LATE_SECONDS = 5.0
"""How long a worker that drains serves connections that come after all: on a busy machine they are late."""
FIRST_SECONDS = 3.0
"""How long it waits for the request of whoever has just connected."""
UNFINISHED_SECONDS = 1.0
"""How long an incomplete request, or one that was answered early, keeps its connection from being given up for a new one."""


class Timed(Connection, Protocol):
    """A connection as its deadlines see it."""

    def header_expired(self) -> None:
        """The head did not arrive in time."""

    def body_expired(self) -> None:
        """The body stopped arriving."""

    is_fresh: bool
    """No request has come yet: whoever connected is about to send one."""

    def close_if_idle(self) -> None:
        """Close when no request is under way."""

    def give_way(self) -> bool:
        """Leave for a new connection; whether that frees its place."""

    @property
    def unsent(self) -> int:
        """Bytes of answers that the client has not taken yet."""

    def __hash__(self) -> int: ...


class Serving(Protocol):
    """What the connection hands its requests to."""

    def serve(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        """Answer a request, whatever happens."""

    def reject(self, connection: Connection, refused: Refused) -> None:
        """Answer bytes that are not a request."""


class Front:
    """What all connections of a worker share."""

    def __init__(
        self,
        settings: Proxy,
        loop: asyncio.AbstractEventLoop,
        ticker: Ticker,
        serving: Serving,
        scheme: str,
        clock: Callable[[], float],
    ) -> None:
        """`clock` counts the seconds that requests take."""
        timeouts = settings.timeouts
        self.loop = loop
        self.clock = clock
        self.bounds = settings.bounds
        self.serving = serving
        self.scheme = scheme
        self.heads = HeadReader(settings.bounds)
        self.known_heads = KnownHeads(self.heads, settings.bounds)
        self.room = Room(settings.bounds.inspected_total)
        self.connections: set[Timed] = set()
        self.sockets = 0
        """Connections that have become WebSockets: they count, but nothing here is their deadline."""
        self.accepted = 0
        """Connections since the worker began."""
        self.draining = False
        self._draining_since = float("inf")
        self.header_deadline: DeadlineQueue[Timed] = ticker.queue(timeouts.header, lambda connection: connection.header_expired())
        self.idle_deadline: DeadlineQueue[Timed] = ticker.queue(timeouts.keep_alive, lambda connection: connection.close_if_idle())
        self.body_deadline: DeadlineQueue[Timed] = ticker.queue(timeouts.body_idle, lambda connection: connection.body_expired())
        self.write_deadline: DeadlineQueue[Timed] = ticker.queue(timeouts.write_idle, lambda connection: connection.abort())
        self.linger_deadline: DeadlineQueue[Timed] = ticker.queue(PAUSE, lambda connection: connection.close_if_idle())
        self.told_deadline: DeadlineQueue[Timed] = ticker.queue(MOST, lambda connection: connection.abort())
        self.leaving: DeadlineQueue[Timed] = ticker.queue(NEVER, lambda connection: connection.abort())
        """Those that close, and whose clients may take their time: never due before `write_deadline`, but first to make room."""
        self.requests: set[Drive] = set()
        """The requests that wait for something."""

    def drive(self, exchange: Exchange) -> None:
        """Serve a request, as far as it goes now and then whenever it can go on."""
        drive = Drive(self.serving.serve(exchange), self.loop, self.requests.discard)
        if drive.start():
            self.requests.add(drive)

    @property
    def surplus(self) -> int:
        """Connections beyond the bound."""
        return len(self.connections) + self.sockets - self.bounds.connections

    def hand_over(self, connection: Timed) -> None:
        """`connection` becomes a WebSocket, until `socket_ended`."""
        self.connections.discard(connection)
        self.sockets += 1

    def socket_ended(self) -> None:
        """A WebSocket's client has gone."""
        self.sockets -= 1

    def has_room(self) -> bool:
        """Whether the newest connection may stay, if need be in place of the one that has been of no use for longest.

        Otherwise one address could hold all places by doing nothing.
        """
        if self.surplus <= 0:
            return True
        for useless in (self.leaving, self.idle_deadline):
            while (oldest := useless.take_oldest()) is not None:
                if oldest.give_way():
                    return True
        if (told := self.told_deadline.take_oldest(UNFINISHED_SECONDS)) is not None:
            # It has had its answer, and needed no key for that.
            told.abort()
            return True
        if (unfinished := self.header_deadline.take_oldest(UNFINISHED_SECONDS)) is not None:
            unfinished.abort()
            return True
        return False

    def admits_late(self) -> bool:
        """Whether connections are still served although the worker drains: the kernel had accepted them before it began to."""
        return self.loop.time() < self._draining_since + LATE_SECONDS

    def awaits_first(self) -> bool:
        """Whether a client has just connected and not asked yet, for which a worker that drains waits a moment."""
        waited = self.loop.time() >= self._draining_since + FIRST_SECONDS
        return not waited and any(connection.is_fresh and not self._is_told(connection) for connection in self.connections)

    async def served(self, timeout: float) -> None:
        """Wait until no request is under way, at most `timeout` seconds."""
        end = self.loop.time() + timeout
        while self.requests and self.loop.time() < end:  # noqa: ASYNC110  # requests must not pay for being counted
            await asyncio.sleep(0.02)

    async def sent(self, timeout: float) -> None:
        """Wait until every client has taken its answer, or sent what it must before it reads one, at most `timeout` seconds."""
        end = self.loop.time() + timeout
        # A transport tells nobody when its last byte has gone.
        while self.loop.time() < end and any(map(self._has_yet_to_read, self.connections)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    def drain(self) -> None:
        """Close idle connections and the others after their answer; those that have just come are waited for."""
        self.draining = True
        self._draining_since = self.loop.time()
        for connection in list(self.connections):
            if not connection.is_fresh and not self._is_told(connection):
                connection.close_if_idle()

    def close_idle(self) -> None:
        """Close every connection without a request, but for those that may still send one that was answered early."""
        for connection in list(self.connections):
            if not self._is_told(connection):
                connection.close_if_idle()

    def _has_yet_to_read(self, connection: Timed) -> bool:
        return connection.unsent > 0 or self._is_told(connection)

    def _is_told(self, connection: Timed) -> bool:
        """Whether a request of `connection` was answered early, and what is left of it is read: so that its client reads the answer."""
        return connection in self.told_deadline
