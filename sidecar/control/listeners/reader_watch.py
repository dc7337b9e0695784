"""Whether a client takes what was written to it: one that takes nothing would keep its connection, and what waits in it, for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sidecar.taken import taken_bytes

LOOKS = 4
"""How often a client is looked at within its time: it may be given up later by one such part."""


class ReaderWatch:
    """Calls `given_up` once a client has taken nothing for `within` seconds, however slowly it takes the rest."""

    __slots__ = ("_given_up", "_in_vain", "_pause", "_taken", "_timer", "_transport")

    def __init__(self, within: float, given_up: Callable[[], None]) -> None:
        self._pause = within / LOOKS
        self._given_up = given_up
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, transport: asyncio.Transport) -> None:
        """Look at the client of `transport`, which is not lost yet; if that is done already, go on."""
        if self._timer is None:
            self._transport = transport
            self._taken = taken_bytes(transport)
            # Looks are counted, not seconds: a loop that stood still has given nobody the time to take anything.
            self._in_vain = 0
            self._look_later()

    def end(self) -> None:
        """Look no more: it has taken enough, or is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._pause, self._look)

    def _look(self) -> None:
        taken = taken_bytes(self._transport)
        self._in_vain = 0 if taken > self._taken else self._in_vain + 1
        self._taken = taken
        if self._in_vain < LOOKS:
            self._look_later()
        else:
            self._timer = None
            self._given_up()
