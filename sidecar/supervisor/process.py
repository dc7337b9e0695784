"""One child process: started with its settings on an inherited descriptor, heard of through another.

Settings carry secrets, so they travel neither in the arguments nor in the environment, which others
can read under /proc; the child gets a descriptor with the bytes, and a pipe on which it says that it is
ready by writing one byte.
"""

from __future__ import annotations

import os
import signal
import sysconfig
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import sidecar

Role = str
"""`store`, `control` or `worker`; under `sidecar authz` the launcher starts `authz` where a `worker` is asked for."""

_KEPT = ("PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LD_PRELOAD", "TERM")
_KEPT_PREFIXES = ("LC_", "PYTHON", "SSL_CERT_", "MALLOC_", "COVERAGE_")
"""Environment variables that a child gets, by name or by how the name begins; all others may be secrets."""
_DEFAULT_AGAIN = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that Python or the supervisor ignores: an exec would hand that on to the child."""
_HELD_BACK: Mapping[Role, Sequence[signal.Signals]] = {"control": (signal.SIGTERM, signal.SIGUSR2)}
"""Signals that are blocked until a child has its handlers, which then get them. If one killed the control process while it starts, as at
a stop right after a reload, what the workers still write would stay in a spool that nobody may read again."""


class Process(Protocol):
    """What the supervisor needs of a running child."""

    pid: int
    started: float
    """Monotonic seconds."""
    ready: bool

    @property
    def ready_fd(self) -> int:
        """Readable when the child has something to say, -1 when it never will again."""

    def hear(self) -> None:
        """Read `ready_fd` once."""

    def send(self, number: int) -> None:
        """Send a signal; a child that has already gone is no error."""

    def gone(self) -> None:
        """The child was reaped: let go of what belonged to it."""


class Launcher(Protocol):
    """Starts children."""

    def __call__(self, role: Role, index: int, settings: bytes, fds: Mapping[str, Sequence[int]]) -> Process:
        """Start one; `fds` are further descriptors by the name of the option that announces each. Raises OSError."""


class ChildProcess:
    """A process that `spawn` has started."""

    def __init__(self, pid: int, ready_fd: int) -> None:
        self.pid = pid
        self.started = time.monotonic()
        self.ready = False
        self._ready_fd = ready_fd

    @property
    def ready_fd(self) -> int:
        """The reading end of its readiness pipe."""
        return self._ready_fd

    def hear(self) -> None:
        """Take note of readiness; the pipe has said all it can after that."""
        self.ready = bool(os.read(self._ready_fd, 1)) or self.ready
        self._close()

    def send(self, number: int) -> None:
        """Send a signal. The pid cannot have been reused: only the supervisor reaps, and it calls `gone` then."""
        if self.pid:
            os.kill(self.pid, number)

    def gone(self) -> None:
        """Forget the pid, which may be somebody else's from now on."""
        self.pid = 0
        self._close()

    def _close(self) -> None:
        if self._ready_fd >= 0:
            os.close(self._ready_fd)
            self._ready_fd = -1


class PythonLauncher:
    """Starts `command <role> --index N --parent PID --settings-fd N --ready-fd N …` in a process group of its own.

    The group keeps Ctrl-C away from the children: the supervisor alone decides in which order they end.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = list(command)
        self._environment = child_environment(environment)

    def __call__(self, role: Role, index: int, settings: bytes, fds: Mapping[str, Sequence[int]]) -> ChildProcess:
        """Start one child; raises OSError when the system cannot."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            settings_fd = _sealed(settings)
        except OSError:
            os.close(reading)
            os.close(writing)
            raise
        further = [(name, fd) for name, several in fds.items() for fd in several]
        passed = [("settings", settings_fd), ("ready", writing), *further]
        options = [item for name, fd in passed for item in (f"--{name}-fd", str(fd))]
        arguments = [*self._command, role, "--index", str(index), "--parent", str(os.getpid()), *options]
        try:
            for _, fd in passed:
                os.set_inheritable(fd, True)
            masked = _HELD_BACK.get(role, ())
            pid = os.posix_spawn(arguments[0], arguments, self._environment, setpgroup=0, setsigmask=masked, setsigdef=_DEFAULT_AGAIN)
        except OSError:
            os.close(reading)
            raise
        finally:
            for _, fd in further:
                os.set_inheritable(fd, False)
            os.close(settings_fd)
            os.close(writing)
        return ChildProcess(pid, reading)


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What a child needs of `environment`: how to run Python, never the settings and secrets that came with it."""
    return with_package_path({name: value for name, value in environment.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)})


def with_package_path(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` with which another interpreter finds this very package."""
    root = str(Path(sidecar.__file__).resolve().parent.parent)
    # A checkout that is run without being installed; where it is installed, its directory must not precede the standard library.
    if root in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        return dict(environment)
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH", ""))))}


def _sealed(data: bytes) -> int:
    """A descriptor at the start of `data`: memory without a name. Unlike a pipe it takes any length without a reader."""
    fd = os.memfd_create("settings", os.MFD_CLOEXEC)
    try:
        os.write(fd, data)
        os.lseek(fd, 0, os.SEEK_SET)
    except OSError:
        os.close(fd)
        raise
    return fd
