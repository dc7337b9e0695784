"""The children: which there should be, which there are, and when a dead one may start again.

This module keeps the books and sends signals; when to look is the supervisor's business.
"""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sidecar.settings import Settings
from sidecar.settings.load import to_bytes
from sidecar.supervisor.backoff import Backoff
from sidecar.supervisor.control_sockets import ControlSockets
from sidecar.supervisor.process import Launcher, Process, Role
from sidecar.supervisor.sockets import WorkerSockets

CONTROL_HEAD_START = 5.0
"""Seconds that workers wait for the first control process, which makes the first admin token. Any longer, and a broken one would keep
them down."""

_log = logging.getLogger("sidecar.supervisor")


@dataclass(eq=False)
class Slot:
    """A place for one child: what runs there, and when the next one may start."""

    role: Role
    index: int = 0
    process: Process | None = None
    due: float = 0.0
    restarts: int = 0
    deadline: float | None = None
    """When a child that was told to end is killed; None: it was not told."""
    backoff: Backoff = field(default_factory=Backoff)
    listeners: tuple[socket.socket, ...] = ()
    """What a worker here accepts from, or the last one did."""

    @property
    def name(self) -> str:
        """What log lines call it."""
        return f"worker {self.index}" if self.role == "worker" else self.role

    @property
    def is_ready(self) -> bool:
        """Whether a child runs here and has said that it serves."""
        return self.process is not None and self.process.ready

    def tell(self, number: int, deadline: float) -> None:
        """Ask the child to end by signal `number`, before `deadline`."""
        if self.process is not None:
            self.process.send(number)
            self.deadline = deadline


class Children:
    """Every child of one supervisor."""

    def __init__(
        self,
        settings: Settings,
        launch: Launcher,
        clock: Callable[[], float],
        fds: Mapping[Role, Mapping[str, Sequence[int]]],
        sockets: WorkerSockets,
        control_sockets: ControlSockets,
    ) -> None:
        self.settings = settings
        self.sockets = sockets
        self.control_sockets = control_sockets
        self.store = [Slot("store")] if settings.store.url == "embedded" else []
        self.control = Slot("control")
        self.workers = [Slot("worker", index) for index in range(settings.proxy.worker_count)]
        self.candidates: list[Slot] = []
        """Workers with new settings that are not trusted yet."""
        self.leaving: list[Slot] = []
        """Workers that were told to drain; nothing takes their place."""
        self._launch = launch
        self._clock = clock
        self._fds = fds
        self._born = clock()

    def all(self) -> list[Slot]:
        """Every slot there is."""
        return [*self.store, self.control, *self.workers, *self.candidates, *self.leaving]

    def running(self, slots: Iterable[Slot]) -> list[Slot]:
        """Those of `slots` in which a child runs."""
        return [slot for slot in slots if slot.process is not None]

    def use(self, settings: Settings) -> None:
        """Start children with `settings` from now on."""
        self.settings = settings

    def start_due(self) -> bool:
        """Start what should run and may; True when something was started."""
        now = self._clock()
        waiting = [slot for slot in (*self.store, self.control, *self.workers) if slot.process is None]
        started = [self.start(slot, self.settings) for slot in waiting if self._may_start(slot) <= now]
        return any(started)

    def start(self, slot: Slot, settings: Settings) -> bool:
        """Start the child of `slot`; False, and it waits, when the system cannot."""
        fds = dict(self._fds.get(slot.role, {}))
        try:
            if slot.role == "worker":
                slot.listeners = self.sockets.of(settings.proxy.listen, slot.index, settings.proxy.worker_count)
                fds["listen"] = [each.fileno() for each in slot.listeners]
            elif slot.role == "control":
                fds |= self.control_sockets.fds(settings)
            slot.process = self._launch(slot.role, slot.index, to_bytes(settings), fds)
        except OSError as error:
            slot.due = self._clock() + slot.backoff.after(0)
            _log.error("%s cannot be started (%s); trying again", slot.name, error.strerror)
            return False
        slot.deadline = None
        _log.debug("%s started as process %d", slot.name, slot.process.pid)
        return True

    def ended(self, pid: int, code: int) -> Slot | None:
        """Note that process `pid` has ended (`code` < 0: by that signal); the slot it ran in, None if it was none of ours."""
        slot = next((slot for slot in self.all() if slot.process is not None and slot.process.pid == pid), None)
        if slot is None or slot.process is None:
            return None
        process, slot.process = slot.process, None
        process.gone()
        lifetime = self._clock() - process.started
        if slot in self.leaving:
            self.leaving.remove(slot)
        self._renew_listeners(slot)
        if slot.deadline is not None:
            slot.due, slot.deadline = self._clock(), None
            return slot
        delay = slot.backoff.after(lifetime)
        slot.due = self._clock() + delay
        slot.restarts += 1
        ending = ending_in_words(code)
        _log.warning("%s (pid %d) %s after %.1f s", slot.name, pid, ending, lifetime, extra={"restart_in": delay, "exit_code": code})
        return slot

    def kill_overdue(self) -> None:
        """Kill whoever was told to end and has not."""
        for slot in self.running(self.all()):
            if slot.deadline is not None and slot.deadline <= self._clock() and slot.process is not None:
                _log.warning("%s (pid %d) does not end and is killed", slot.name, slot.process.pid)
                slot.tell(signal.SIGKILL, self._clock() + 1)

    def next_event(self) -> float | None:
        """The clock's time at which `start_due` or `kill_overdue` may have something to do."""
        times = [slot.deadline for slot in self.all() if slot.process is not None and slot.deadline is not None]
        times += [self._may_start(slot) for slot in (*self.store, self.control, *self.workers) if slot.process is None]
        return min(times, default=None)

    def _may_start(self, slot: Slot) -> float:
        """The clock's time from which a child of `slot` may start; a worker may sooner, once control is ready."""
        if slot.role != "worker" or self.control.is_ready or self._workers_began():
            return slot.due
        return max(slot.due, self._born + CONTROL_HEAD_START)

    def keep_sockets(self) -> None:
        """Let go of the sockets that neither the settings nor the workers have a use for."""
        used = {listener for slot in self.workers for listener in slot.listeners}
        self.control_sockets.keep(self.settings)
        self.sockets.keep(self.settings.proxy.listen, self.settings.proxy.worker_count, used)

    def _renew_listeners(self, ended: Slot) -> None:
        """A socket that no worker accepts from any more must not take in connections, which nobody would serve."""
        left, ended.listeners = ended.listeners, ()
        heirs = {listener for slot in self.running((*self.workers, *self.candidates)) for listener in slot.listeners}
        for listener in left:
            if listener not in heirs:
                self.sockets.renew(listener, self.settings.proxy.worker_count)

    def _workers_began(self) -> bool:
        return any(slot.process is not None or slot.restarts for slot in self.workers)


def ending_in_words(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    # Most real-time signals have no name: signal.Signals(number) would raise ValueError, and that would end the supervisor.
    named = {one.value: one.name for one in signal.Signals}
    return f"was killed by {named.get(-code, f'signal {-code}')}"
