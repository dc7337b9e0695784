"""Accepts connections within a bound, which counts one from its acceptance: a TLS handshake that never ends takes a descriptor too."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence

BACKLOG = 128
PAUSE = 1.0
"""Seconds without accepting after a failure: this process, or the machine, has no descriptor left."""
_AT_ONCE = 64
_FAREWELL = 3600.0
"""Seconds until the loop by itself breaks TLS off that has not ended yet: it would cut the rest of an answer off for a slow client.
Who takes nothing, or never says goodbye, is given up by its protocol."""

Make = Callable[[float, Callable[[], None]], asyncio.BaseProtocol]
"""A connection's protocol, of the loop's time at which it was accepted and what it calls when it is lost."""

log = logging.getLogger(__name__)


class Places:
    """Room for `most` connections of one listener, whatever number of sockets it has; `name` is for the log."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._taken: set[object] = set()
        self._told = False
        self.connecting: set[asyncio.Task[None]] = set()
        """Those that have not shaken hands yet."""

    def take(self) -> object | None:
        """A place, or None when there is none."""
        if len(self._taken) >= self._most:
            if not self._told:
                log.warning("%s has %d connections, as many as fit: further ones are closed at once", self._name, self._most)
            self._told = True
            return None
        place = object()
        self._taken.add(place)
        return place

    def leave(self, place: object) -> None:
        """Give a place back; a second time does nothing."""
        self._taken.discard(place)
        # Not with each one that goes: at the bound one comes for each.
        self._told = self._told and len(self._taken) > self._most // 2


class Door:
    """Accepts from `listening`, which it closes at its end, for `make`; a handshake has `handshake` seconds."""

    def __init__(self, listening: socket.socket, make: Make, places: Places, tls: ssl.SSLContext | None, handshake: float) -> None:
        self._listening = listening
        self._make = make
        self._places = places
        self._tls = tls
        self._handshake = handshake
        self._loop = asyncio.get_running_loop()
        self._resuming: asyncio.TimerHandle | None = None
        self._serving = True
        listening.setblocking(False)
        listening.listen(BACKLOG)
        self._loop.add_reader(listening, self._accept)

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """What it accepts from."""
        return (self._listening,) if self._serving else ()

    def close(self) -> None:
        """Accept no more; who has connected stays."""
        if not self._serving:
            return
        self._serving = False
        if self._resuming is not None:
            self._resuming.cancel()
        self._loop.remove_reader(self._listening)
        self._listening.close()

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Mostly no descriptor is left. Whoever waits in the backlog would have this called again and again.
                log.error("no connection can be accepted for a moment: %s", error.strerror)
                self._loop.remove_reader(self._listening)
                self._resuming = self._loop.call_later(PAUSE, self._loop.add_reader, self._listening, self._accept)
                return
            place = self._places.take()
            if place is None:
                connection.close()
                continue
            connection.setblocking(False)
            task = self._loop.create_task(self._connect(connection, place))
            self._places.connecting.add(task)
            task.add_done_callback(self._places.connecting.discard)

    async def _connect(self, connection: socket.socket, place: object) -> None:
        began = self._loop.time()
        secure = self._tls is not None
        connected = False
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._make(began, lambda: self._places.leave(place)),
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=self._handshake if secure else None,
                ssl_shutdown_timeout=_FAREWELL if secure else None,
            )
            connected = True
        except OSError as error:
            log.debug("a connection did not come about: %s", error)
        finally:
            if not connected:
                self._places.leave(place)
                connection.close()
