"""The supervisor: one thread that waits for signals and children, and starts what has died.

It knows no protocol and parses nothing but its own settings: it is small enough never to fall. If it is
killed all the same, the kernel ends its children (see `sidecar.child`).
"""

from __future__ import annotations

import errno
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from sidecar.settings import Settings, SettingsError
from sidecar.supervisor import embedded_store, listeners, status
from sidecar.supervisor.children import Children
from sidecar.supervisor.control_sockets import ControlSockets, addresses
from sidecar.supervisor.interruption import Interrupted, interrupted_after
from sidecar.supervisor.process import Launcher, Role
from sidecar.supervisor.rolling import Replacement
from sidecar.supervisor.shutdown import Shutdown
from sidecar.supervisor.sockets import WorkerSockets
from sidecar.supervisor.status import Child, Reload, Status

READING = 10.0
"""Seconds that a reload may take to read its files: no child is started meanwhile."""
_IDLE = 5.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

_log = logging.getLogger("sidecar.supervisor")


class Supervisor:
    """Runs the children of `settings` until SIGTERM or SIGINT; SIGHUP takes over what `reload` makes of them.

    `fds` are descriptors that children of a role inherit, by the option that announces them; `sockets` is what workers listen on,
    `control_sockets` what the control process does.
    """

    def __init__(
        self,
        settings: Settings,
        launch: Launcher,
        *,
        reload: Callable[[Settings], Settings],
        fds: Mapping[Role, Mapping[str, Sequence[int]]],
        sockets: WorkerSockets,
        control_sockets: ControlSockets,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._children = Children(settings, launch, clock, fds, sockets, control_sockets)
        self._reload = reload
        self._clock = clock
        self._data_dir = Path(settings.data_dir)
        self._started = time.time()
        self._generation = 1
        self._last_reload: Reload | None = None
        self._replacement: Replacement | None = None
        self._reload_wanted = False
        self._shutdown: Shutdown | None = None
        self._written: Status | None = None
        self._complaint = ""
        self._announced = False

    def run(self, wakeup: int | None = None) -> int:
        """Supervise; returns the exit code when everything has ended. `wakeup`: what `catch_signals` returned, if it was called."""
        wakeup = catch_signals() if wakeup is None else wakeup
        while not self.step():
            self._wait(wakeup)
        _log.info("stopped")
        return 0

    def step(self) -> bool:
        """Do what is due; True when all is over."""
        done = False
        if self._shutdown is not None:
            done = self._shutdown.step()
        else:
            self._children.start_due()
            self._go_on_reloading()
            self._announce()
        self._children.kill_overdue()
        self._write_status()
        return done

    def heard(self, number: int) -> None:
        """React to a signal."""
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop()
        elif number == signal.SIGHUP and self._shutdown is None:
            self._reload_wanted = True

    def reap(self) -> None:
        """Take leave of every child that has ended; as process 1 of a container, also of children that are not ours."""
        while True:
            try:
                pid, code = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            exit_code = os.waitstatus_to_exitcode(code)
            slot = self._children.ended(pid, exit_code)
            if slot is not None and slot.role == "store" and exit_code == embedded_store.SERVER_GAVE_UP:
                self._tell_why_the_store_ended()

    def _tell_why_the_store_ended(self) -> None:
        # It has a log of its own, where nobody looks who sees that it does not come up.
        data_dir = Path(self._children.settings.data_dir)
        if reason := embedded_store.last_warning(data_dir):
            _log.error("the store gave up: %s (%s)", reason, data_dir / embedded_store.DIRECTORY / embedded_store.LOG)

    def _stop(self) -> None:
        if self._shutdown is not None:
            _log.info("asked again: open requests are broken off")
            self._shutdown.hurry()
            return
        _log.info("stopping: open requests have %s to finish", self._children.settings.proxy.drain_timeout)
        if self._replacement is not None:
            self._replacement.abandon()
            self._replacement = None
        self._shutdown = Shutdown(self._children, self._clock)

    def _go_on_reloading(self) -> None:
        if self._replacement is None and self._reload_wanted:
            self._reload_wanted = False
            self._begin_reload()
        if self._replacement is not None and self._replacement.step():
            self._end_reload([self._replacement.failure] if self._replacement.failure else [])
            self._replacement = None

    def _begin_reload(self) -> None:
        old = self._children.settings
        try:
            with interrupted_after(READING):
                settings = self._reload(old)
            faults = needs_restart(old, settings, self._children.sockets.name) or unavailable_listeners(old, settings)
            if not faults:
                self._replacement = Replacement(self._children, settings, self._clock)
        except SettingsError as error:
            faults = error.faults
        except Interrupted:
            faults = ["it could not be read to its end; see whether a file that it names is a pipe, or on a disk that does not answer"]
        except Exception as error:
            # A new value that nobody foresaw must not take down what serves with the old ones.
            _log.exception("the configuration cannot be taken over")
            faults = [f"it cannot be taken over ({type(error).__name__}); undo the last change, the log shows where it failed"]
        if faults:
            self._end_reload(faults)

    def _end_reload(self, faults: list[str]) -> None:
        self._last_reload = Reload(time.time(), faults)
        if faults:
            _log.error("the configuration was not reloaded, the running one stays: %s", "; ".join(faults))
        else:
            self._generation += 1
            logging.getLogger().setLevel(self._children.settings.log.level.upper())
            _log.info("the configuration was reloaded; old workers finish their requests")

    def _announce(self) -> None:
        children = self._children
        if not self._announced and all(slot.is_ready for slot in (children.control, *children.workers)):
            self._announced = True
            settings = children.settings
            _log.info("serving on %s, admin on %s, metrics on %s", settings.proxy.listen, settings.admin.listen, settings.metrics.listen)

    def _wait(self, wakeup: int) -> None:
        hearing = {slot.process.ready_fd: slot.process for slot in self._children.all() if slot.process and slot.process.ready_fd >= 0}
        poll = select.poll()
        for fd in (wakeup, *hearing):
            poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll(self._patience() * 1000):
            if fd == wakeup:
                for number in os.read(wakeup, 512):
                    self.heard(number)
            else:
                hearing[fd].hear()
        self.reap()

    def _patience(self) -> float:
        """Seconds that may pass before `step` has something to do by itself."""
        times = [self._children.next_event()] if self._shutdown is None else [self._shutdown.wakes_at()]
        due = [moment - self._clock() for moment in times if moment is not None]
        # Workers may be waiting for control's head start, candidates for their time to run out: look again soon enough.
        return max(0.0, min([*due, _IDLE if self._announced and self._replacement is None and self._shutdown is None else 0.5]))

    def _write_status(self) -> None:
        children = [
            Child(slot.role, slot.index, slot.process.pid if slot.process else None, slot.is_ready, slot.restarts)
            for slot in self._children.all()
        ]
        now = Status(os.getpid(), self._started, self._generation, self._shutdown is not None, children, self._last_reload)
        if now == self._written:
            return
        complaint = status.write(self._data_dir, now)
        if complaint and complaint != self._complaint:
            _log.warning("%s cannot be written (%s); trying again", self._data_dir / status.FILE, complaint)
        # A write that failed is tried again, or the file would go on listing children that are gone.
        self._written, self._complaint = None if complaint else now, complaint


def needs_restart(old: Settings, new: Settings, listening: str = "proxy.listen") -> list[str]:
    """What differs between `old` and `new` that a running sidecar cannot take over, a sentence each.

    `listening` is the setting that their `proxy.listen` comes from.
    """
    faults = []
    if old.data_dir != new.data_dir:
        faults.append("data_dir: a change needs a restart of the sidecar")
    if (old.store.url == "embedded") != (new.store.url == "embedded"):
        faults.append("store.url: a change from or to the embedded store needs a restart of the sidecar")
    if old.proxy.listen != new.proxy.listen and (old.proxy.listen.path or new.proxy.listen.path):
        faults.append(f"{listening}: a change of a unix socket needs a restart of the sidecar")
    return faults


def unavailable_listeners(old: Settings, new: Settings) -> list[str]:
    """Which addresses of `new` the next control process could not listen on, a sentence each."""
    # A port that we hold ourselves looks taken and is not, whatever host we hold it on.
    ours = {(listen.path, listen.port) for listen in addresses(old).values()}
    faults = []
    for name, listen in addresses(new).items():
        fault = listeners.fault_of(listen)
        if fault and not (fault.errno == errno.EADDRINUSE and (listen.path, listen.port) in ours):
            faults.append(listeners.sentence(name, listen, fault))
    return faults


def catch_signals() -> int:
    """Route signals into a pipe and return its reading end: nothing is done inside a handler."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in _SIGNALS:
        signal.signal(number, _ignore)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    return reading


@contextmanager
def nothing_to_end() -> Iterator[None]:
    """While there is nothing yet to end in order, SIGTERM and SIGINT end the process at once, as one that has done its work."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _ignore)


def _ignore(number: int, frame: FrameType | None) -> None:
    """The wake-up pipe has the signal already."""
