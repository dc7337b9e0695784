"""The sockets of `admin.listen` and `metrics.listen`: made and kept by the supervisor, through every control process.

There is one control process at a time. Who connects while there is none waits in the queue for the next one.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sidecar import listening
from sidecar.settings import Settings
from sidecar.settings.values import Listen
from sidecar.supervisor import listeners
from sidecar.supervisor.listeners import ListenError


def addresses(settings: Settings) -> Mapping[str, Listen]:
    """Where the control process listens, by setting."""
    return {"admin.listen": settings.admin.listen, "metrics.listen": settings.metrics.listen}


def make(listen: Listen) -> Sequence[socket.socket]:
    """The sockets of `listen`, several where its host has several addresses; raises OSError.

    On TCP they are bound only: before the first control process there is nobody to wait for. It makes them listen.
    """
    return [listeners.unix_socket(listen)] if listen.path else listening.bind_each(listen)


class ControlSockets:
    """The sockets by address, not by setting: a reload may swap the addresses of two settings."""

    def __init__(self, make: Callable[[Listen], Sequence[socket.socket]] = make) -> None:
        self._make = make
        self.made: set[Listen] = set()
        """Every address there was: a reload to another one leaves the file of a unix socket behind."""
        self._held: dict[Listen, Sequence[socket.socket]] = {}

    def add(self, settings: Settings) -> None:
        """Have the sockets of `settings`; raises ListenError. Whether another program is there is checked before."""
        for name, listen in addresses(settings).items():
            try:
                self._of(listen)
            except OSError as error:
                raise ListenError(listeners.sentence(name, listen, error)) from None

    def fds(self, settings: Settings) -> dict[str, Sequence[int]]:
        """What a control process of `settings` inherits, by the option that announces it; raises OSError."""
        for listen in addresses(settings).values():
            if listen.path and listen in self._held and not Path(listen.path).is_socket():
                self._drop(listen)  # somebody has taken away its file, and nobody finds it any more
        listens = {"admin": settings.admin.listen, "metrics": settings.metrics.listen}
        return {option: [each.fileno() for each in self._of(listen)] for option, listen in listens.items()}

    def keep(self, settings: Settings) -> None:
        """Let go of every socket but those of `settings`."""
        for listen in self._held.keys() - set(addresses(settings).values()):
            self._drop(listen)

    def close(self) -> None:
        """Let go of everything: from now on each socket lasts only as long as the control process that has it."""
        for listen in list(self._held):
            self._drop(listen)

    def _of(self, listen: Listen) -> Sequence[socket.socket]:
        if listen not in self._held:
            self._held[listen] = self._make(listen)
            self.made.add(listen)
        return self._held[listen]

    def _drop(self, listen: Listen) -> None:
        for each in self._held.pop(listen):
            each.close()
