"""Connections to the hub: made when needed, kept while the hub keeps them, never more than allowed.

The most recently used connection is taken first, so that a quiet hour lets the others age out. An
idle connection is given up before a usual hub would close it, since a request sent into a closing
connection cannot be repeated safely (RFC 9110 9.2.2).
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque

from sidecar.refusals import HUB_TIMEOUT, HUB_UNAVAILABLE, OVERLOADED, Refused
from sidecar.settings.declaration import Hub, Timeouts
from sidecar.worker.deadlines import DeadlineQueue, Ticker
from sidecar.worker.upstream.connection import HubConnection
from sidecar.worker.upstream.dial import dial
from sidecar.worker.upstream.pipe import TunnelDeadlines
from sidecar.worker.upstream.plain import PlainReader


class HubPool:
    """Lends connections to the hub of `settings`."""

    def __init__(self, settings: Hub, timeouts: Timeouts, loop: asyncio.AbstractEventLoop, ticker: Ticker) -> None:
        self._settings = settings
        self._loop = loop
        self._connect_timeout = timeouts.hub_connect
        self._idle: deque[HubConnection] = deque()
        self._open: set[HubConnection] = set()
        self._connecting = 0
        self._first_byte: DeadlineQueue[HubConnection] = ticker.queue(timeouts.hub_first_byte, HubConnection.expired)
        self._between: DeadlineQueue[HubConnection] = ticker.queue(timeouts.hub_idle, HubConnection.expired)
        self.tunnels = TunnelDeadlines(timeouts, ticker)
        """Those of connections that became WebSockets."""
        self._plain = PlainReader()
        self._tls = _tls(settings)

    @property
    def size(self) -> int:
        """Open connections."""
        return len(self._open)

    def take(self, method: bytes) -> HubConnection | None:
        """An idle connection, ready for an exchange, if there is one."""
        now = self._loop.time()
        patience = self._settings.idle_connection_age
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closing and now - connection.idle_since < min(patience, connection.idle_patience):
                connection.start(method)
                return connection
            self._let_go(connection)
        return None

    async def connect(self, method: bytes) -> HubConnection:
        """A new connection. Raises Refused(hub_unavailable, hub_timeout or overloaded)."""
        if len(self._open) + self._connecting >= self._settings.max_connections:
            self._give_up_idle()
        self._connecting += 1
        try:
            # In a task of its own: a request has none, and only a task can be timed out.
            opening = dial(self._loop, self._protocol, self._settings.url, self._tls, self._connect_timeout)
            connection = await self._loop.create_task(asyncio.wait_for(opening, self._connect_timeout))
        except TimeoutError:
            raise Refused(HUB_TIMEOUT) from None
        except (OSError, ssl.SSLError, ValueError):
            # ValueError: the resolver's, of a name that it cannot write down.
            raise Refused(HUB_UNAVAILABLE) from None
        finally:
            self._connecting -= 1
        if connection.is_closing:
            # The hub has left already, or we have: it may have said so before it was ours to count, and then never will again.
            connection.abort()
            raise Refused(HUB_UNAVAILABLE)
        self._open.add(connection)
        connection.start(method)
        return connection

    def _give_up_idle(self) -> None:
        """Make room in place of what has been idle for longest: a WebSocket takes no connection that was used before."""
        if not self._idle:
            raise Refused(OVERLOADED)
        self._let_go(self._idle.popleft())

    def _let_go(self, connection: HubConnection) -> None:
        """Close an idle connection. Its place is free at once: whoever wants another would find none until the loop has closed this one."""
        self._open.discard(connection)
        connection.close()

    def give_back(self, connection: HubConnection) -> None:
        """End an exchange; keep the connection if it can serve another."""
        connection.finish()
        if connection.reusable:
            connection.idle_since = self._loop.time()
            self._idle.append(connection)
            return
        # Not when it is closed: there may be another request in this turn. And the protocol that a transport has after an upgrade
        # would not tell the pool of its end.
        self._open.discard(connection)
        if connection.request_complete and not connection.unsent:
            connection.close()
        else:
            connection.abort()

    def tidy(self) -> None:
        """Close what has been idle for too long; called about once a second."""
        oldest = self._loop.time() - self._settings.idle_connection_age
        while self._idle and (self._idle[0].idle_since < oldest or self._idle[0].is_closing):
            self._let_go(self._idle.popleft())

    def close(self) -> None:
        """Break everything off."""
        for connection in list(self._open):
            connection.abort("shutdown")

    def _protocol(self) -> HubConnection:
        return HubConnection(self._loop, self._first_byte, self._between, self._open.discard, self._plain)


def _tls(settings: Hub) -> ssl.SSLContext | None:
    if settings.url.scheme != "https":
        return None
    context = ssl.create_default_context(cafile=settings.ca_file or None)
    context.set_alpn_protocols(["http/1.1"])
    return context
