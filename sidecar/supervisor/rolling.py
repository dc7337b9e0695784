"""New settings without a gap: new workers first, and the old ones drain when the new ones serve.

A new worker accepts from the socket of the old one of its index, which is never closed, and shares those of
old ones that have no successor: no connection is lost in a queue. If a new worker does not come up, everything
stays as it was: those that serve already drain, the others are killed.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from sidecar.settings import Settings
from sidecar.supervisor.children import Children, Slot
from sidecar.supervisor.listeners import ListenError
from sidecar.supervisor.shutdown import CONTROL_FINISH, DRAIN_MARGIN

PATIENCE = 30.0
"""Seconds that new workers have to say that they are ready."""


class Replacement:
    """One reload under way. `failure` says why it was given up."""

    def __init__(self, children: Children, settings: Settings, clock: Callable[[], float]) -> None:
        self.failure = ""
        self._children = children
        self._settings = settings
        self._clock = clock
        self._deadline = clock() + PATIENCE
        try:
            children.control_sockets.add(settings)
            children.sockets.add(settings.proxy.listen, settings.proxy.worker_count)
            self._start()
        except ListenError as error:
            self._give_up(str(error))
        except Exception:
            # Nobody else would look after the candidates that have started already.
            self._give_up("new workers cannot be started")
            raise

    def step(self) -> bool:
        """Go on; True when there is nothing left to do, done or given up."""
        if self.failure:
            return True
        candidates = self._children.candidates
        dead = next((slot for slot in candidates if slot.process is None), None)
        if dead is not None:
            self._give_up(f"new {dead.name} ended before it was ready")
            return True
        if all(slot.is_ready for slot in candidates):
            self._switch()
            return True
        if self._clock() >= self._deadline:
            self._give_up(f"new workers were not ready within {PATIENCE:.0f} s")
            return True
        return False

    def abandon(self) -> None:
        """The sidecar stops: the candidates drain with the others."""
        self._children.leaving += self._children.running(self._children.candidates)
        self._children.candidates = []

    def _start(self) -> None:
        self._children.candidates = [Slot("worker", index) for index in range(self._settings.proxy.worker_count)]
        for slot in self._children.candidates:
            if not self._children.start(slot, self._settings):
                self._give_up(f"new {slot.name} cannot be started")
                return

    def _switch(self) -> None:
        children = self._children
        drain = children.settings.proxy.drain_timeout + DRAIN_MARGIN
        old = children.running(children.workers)
        children.workers, children.candidates = children.candidates, []
        children.leaving += old
        children.use(self._settings)
        children.keep_sockets()
        for slot in old:
            slot.tell(signal.SIGTERM, self._clock() + drain)
        # The next control process starts when this one has folded what it has: two would fold the same spools. Who connects
        # meanwhile waits in the sockets that it inherits.
        children.control.tell(signal.SIGUSR2, self._clock() + CONTROL_FINISH)

    def _give_up(self, failure: str) -> None:
        self.failure = failure
        drain = self._settings.proxy.drain_timeout + DRAIN_MARGIN
        for slot in self._children.running(self._children.candidates):
            if slot.is_ready:
                # It has taken requests from the socket that it shares.
                slot.tell(signal.SIGTERM, self._clock() + drain)
            else:
                slot.tell(signal.SIGKILL, self._clock() + 1)
            self._children.leaving.append(slot)
        self._children.candidates = []
        self._children.keep_sockets()
