"""Accepts connections within a bound, which counts one from its acceptance: a TLS handshake that never ends takes a descriptor too."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Protocol, cast

BACKLOG = 128
"""Connections that may wait in the kernel to be accepted, also while one control process follows another."""
PAUSE = 1.0
"""Seconds without accepting after a failure: this process, or the machine, has no descriptor left."""
_LOOK_EVERY = 0.05
"""Seconds from a look for idle connections that found none to the next one: all are looked at, and a crowd comes again and again."""
_AT_ONCE = 64
"""Connections that are accepted before others have a turn of the event loop."""
_FAREWELL = 3600.0
"""Seconds until the loop by itself breaks TLS off that has not ended yet: it would cut the rest of an answer off for a slow client.
Who takes nothing, or never says goodbye, is given up by its protocol."""


class Guest(Protocol):
    """The protocol of a connection that has a place."""

    @property
    def idle_since(self) -> float | None:
        """Since when, by the loop's clock, it has waited for a next request of which nothing has come; None when it does not."""

    def give_way(self) -> None:
        """Leave for a new connection."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is over, or never came about."""


Make = Callable[[float, Callable[[], None]], Guest]
"""A connection's protocol, of the loop's time at which it was accepted and what it calls when it is lost."""

_log = logging.getLogger(__name__)


class Place:
    """Room for one connection; `guest` is None until there is a protocol for it."""

    __slots__ = ("guest",)

    def __init__(self) -> None:
        self.guest: Guest | None = None


class Places:
    """Room for `most` connections of one listener, whatever number of sockets it has; `name` is for the log."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._taken: set[Place] = set()
        self._idle: list[tuple[float, Place]] = []
        """Those that were idle at the last look, and since when; the longest idle one comes last."""
        self._look_at = 0.0
        self._told = False
        self.connecting: set[asyncio.Task[None]] = set()
        """Those that have not shaken hands yet."""

    def take(self) -> Place | None:
        """A place, if need be that of the connection that has been idle for longest, or None when there is none."""
        if len(self._taken) >= self._most and not self._make_room():
            if not self._told:
                _log.warning("%s has %d connections, as many as fit: further ones are closed at once", self._name, self._most)
            self._told = True
            return None
        place = Place()
        self._taken.add(place)
        return place

    def leave(self, place: Place) -> None:
        """Give a place back; a second time does nothing."""
        self._taken.discard(place)
        # Not with each one that goes: at the bound one comes for each.
        self._told = self._told and len(self._taken) > self._most // 2

    def _make_room(self) -> bool:
        if self._close_idle():
            return True
        now = time.monotonic()
        if now < self._look_at:
            return False
        found = ((place.guest.idle_since, place) for place in self._taken if place.guest is not None)
        self._idle = sorted(((since, place) for since, place in found if since is not None), key=lambda each: each[0], reverse=True)
        if self._close_idle():
            return True
        self._look_at = now + _LOOK_EVERY
        return False

    def _close_idle(self) -> bool:
        while self._idle:
            since, place = self._idle.pop()
            # It may have been used since, or be gone.
            if place in self._taken and place.guest is not None and place.guest.idle_since == since:
                # It is told of its end later, and gives back a place that is another's by then: this one is given away once.
                self._taken.discard(place)
                place.guest.give_way()
                return True
        return False


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
                _log.error("no connection can be accepted for a moment: %s", error.strerror)
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

    async def _connect(self, connection: socket.socket, place: Place) -> None:
        guest = place.guest = self._make(self._loop.time(), lambda: self._places.leave(place))
        secure = self._tls is not None
        connected = False
        try:
            await self._loop.connect_accepted_socket(
                lambda: cast("asyncio.BaseProtocol", guest),
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=self._handshake if secure else None,
                ssl_shutdown_timeout=_FAREWELL if secure else None,
            )
            connected = True
        except OSError as error:
            _log.debug("a connection did not come about: %s", error)
        finally:
            if not connected:
                # Nobody else tells the protocol of a handshake that failed, which its timer would keep for as long as a head may take.
                guest.connection_lost(None)
                self._places.leave(place)
                connection.close()
