"""The order in which everything ends: readiness, workers, control process, store.

Readiness goes first, so that nobody sends new traffic; workers finish what they have; the control process
folds what they wrote; the store goes last, when nobody writes to it any more.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from sidecar.supervisor.children import Children, Slot

NOTICE = 0.1
"""Seconds between `/readyz` 503 and the first worker that stops accepting."""
DRAIN_MARGIN = 5.0
"""Seconds beyond `proxy.drain_timeout` after which a worker that still runs is killed."""
CONTROL_FINISH = 15.0
"""Seconds in which the control process folds what is left; then it is killed."""
STORE_STOP = 10.0
"""Seconds in which the store closes its files; then it is killed."""


class Shutdown:
    """One orderly end; made when it begins."""

    def __init__(self, children: Children, clock: Callable[[], float]) -> None:
        self._children = children
        self._clock = clock
        self._notice_ends = clock() + NOTICE
        self._told: set[str] = set()
        self._had_workers = bool(children.running([*children.workers, *children.candidates, *children.leaving]))
        # Nobody is to ask the next control process, if there is one: kept open here, these would take in connections until then.
        children.control_sockets.close()
        for slot in children.running([children.control]):
            # Not told to end yet: SIGTERM makes it unready, SIGUSR2 lets it finish.
            slot.tell(signal.SIGTERM, clock() + NOTICE + children.settings.proxy.drain_timeout + DRAIN_MARGIN + CONTROL_FINISH)

    def step(self) -> bool:
        """Go on; True when every child has ended."""
        if self._clock() < self._notice_ends:
            return False
        for name, slots, number, seconds in self._stages():
            if name not in self._told:
                self._told.add(name)
                self._prepare(name)
                for slot in self._children.running(slots):
                    # A worker that a reload has told to drain keeps its deadline; told twice, it would hurry.
                    if slot.deadline is None or slot.role == "control":
                        slot.tell(number, self._clock() + seconds)
            if self._children.running(slots):
                return False
        return True

    def _prepare(self, name: str) -> None:
        children = self._children
        if name == "workers":
            # A worker that drains closes its socket; kept open here, it would take in connections that nobody serves.
            children.sockets.close()
        elif name == "control" and self._had_workers and children.control.process is None:
            # It has crashed, or a reload has told the last one to end: what the workers wrote since would stay in the spool.
            if children.start(children.control, children.settings):
                children.control.tell(signal.SIGTERM, self._clock() + CONTROL_FINISH)
            children.control_sockets.close()

    def hurry(self) -> None:
        """Asked again: kill what is being waited for, except the store, which has a file to close."""
        self._notice_ends = self._clock()
        self.step()
        for _, slots, _, _ in self._stages()[:2]:
            running = self._children.running(slots)
            for slot in running:
                slot.tell(signal.SIGKILL, self._clock() + 1)
            if running:
                return

    def wakes_at(self) -> float | None:
        """The clock's time at which `step` may go on without a child having ended."""
        return self._notice_ends if self._clock() < self._notice_ends else None

    def _stages(self) -> list[tuple[str, list[Slot], int, float]]:
        children = self._children
        drain = children.settings.proxy.drain_timeout + DRAIN_MARGIN
        return [
            ("workers", [*children.workers, *children.candidates, *children.leaving], signal.SIGTERM, drain),
            ("control", [children.control], signal.SIGUSR2, CONTROL_FINISH),
            ("store", children.store, signal.SIGTERM, STORE_STOP),
        ]
