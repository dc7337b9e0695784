"""The sockets that workers listen on: made and kept by the supervisor, so that none is closed while connections wait in it.

Each worker index has its own on a TCP address, and all share the one of a unix socket. A worker that takes
another's place takes over the very socket; what waits in its queue is served by whoever accepts first.

Where there are fewer workers than there were, all of them share the sockets that are left over: between the last
`accept` of a worker and its `close` the kernel would give the socket one more connection, and reset it.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Container

from sidecar import listening
from sidecar.settings.values import Listen
from sidecar.supervisor import listeners
from sidecar.supervisor.listeners import ListenError


def make(listen: Listen) -> socket.socket:
    """A socket for `listen`; raises OSError.

    On TCP it is bound only, for clients must not queue up for a worker that is not there yet: the worker makes it listen.
    """
    return listeners.unix_socket(listen) if listen.path else listening.bind(listen)


class WorkerSockets:
    """The sockets of all workers."""

    def __init__(self, name: str = "proxy.listen", make: Callable[[Listen], socket.socket] = make) -> None:
        self.name = name
        """The setting that their address comes from."""
        self._make = make
        self._held: dict[tuple[Listen, int], socket.socket] = {}

    def add(self, listen: Listen, count: int, patience: float = 0.0) -> None:
        """Have the sockets of `count` workers on `listen`; raises ListenError, after `patience` seconds if it is taken."""
        # On a port that is ours already, the other sockets of ours would be found.
        if not any(listen.path == held.path and listen.port == held.port for held, _ in self._held):
            listeners.check(self.name, listen, patience)
        try:
            for index in range(count):
                self._own(listen, index)
        except OSError as error:
            raise ListenError(listeners.sentence(self.name, listen, error)) from None

    def of(self, listen: Listen, index: int, count: int) -> tuple[socket.socket, ...]:
        """What worker `index` of `count` accepts from on `listen`, its own socket first, made if there is none; raises OSError."""
        shared = [held for (where, number), held in self._held.items() if where == listen and number >= count]
        return self._own(listen, index), *shared

    def keep(self, listen: Listen, count: int, used: Container[socket.socket]) -> None:
        """Let go of every socket but those of `count` workers on `listen`, and those that are `used`."""
        kept = {_place(listen, index) for index in range(count)}
        for place in [place for place, held in self._held.items() if place not in kept and held not in used]:
            self._held.pop(place).close()

    def renew(self, listener: socket.socket, count: int) -> None:
        """Nobody accepts from `listener` any more: close it, so that the other workers get its share.

        If it is the own one of one of `count` workers, have one for the next. A unix socket stays, for it has no shares.
        """
        place = next((place for place, held in self._held.items() if held is listener), None)
        if place is None or place[0].path:
            return
        del self._held[place]
        if place[1] < count:
            with contextlib.suppress(OSError):  # `of` tries again
                self._own(*place)
        listener.close()

    def close(self) -> None:
        """Let go of everything: from now on each socket lasts only as long as the workers that have it."""
        for held in self._held.values():
            held.close()
        self._held.clear()

    def _own(self, listen: Listen, index: int) -> socket.socket:
        place = _place(listen, index)
        if place not in self._held:
            self._held[place] = self._make(listen)
        return self._held[place]


def _place(listen: Listen, index: int) -> tuple[Listen, int]:
    return listen, 0 if listen.path else index
