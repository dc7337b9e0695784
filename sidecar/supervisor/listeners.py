"""Addresses to listen on: tried before anything is started, so that a taken port is one sentence and no crash loop.

The sockets of the workers are in `sidecar.supervisor.sockets`, those of the control process in `control_sockets` beside it.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path

from sidecar.settings.values import Listen

PATIENCE = 3.0
"""Seconds that the children of a sidecar that was killed have to let go of their ports."""
BACKLOG = 1024
"""Connections that may wait in a unix socket until somebody accepts; whoever does may ask for more."""
UNIX_MODE = 0o660


class ListenError(Exception):
    """An address cannot be listened on; the message says what to do."""


def check(name: str, listen: Listen, patience: float = PATIENCE) -> None:
    """Raise ListenError when `listen`, the setting `name`, is taken or not ours to take."""
    end = time.monotonic() + patience
    while True:
        fault = fault_of(listen)
        if not fault:
            return
        if fault.errno != errno.EADDRINUSE or time.monotonic() >= end:
            raise ListenError(sentence(name, listen, fault))
        time.sleep(0.05)


def fault_of(listen: Listen) -> OSError | None:
    """Why `listen` cannot be bound at this moment, if it cannot."""
    try:
        if listen.path:
            _refuse_live_socket(listen.path)
            _refuse_closed_directory(Path(listen.path).parent)
            return None
        for family, kind, protocol, _, address in socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            _bind_once(family, kind, protocol, address)
    except OSError as error:
        return error
    except ValueError:
        # What Python makes of a host or a path that the system cannot even be asked for.
        return OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return None


def unix_socket(listen: Listen) -> socket.socket:
    """Make and return the listening socket of a `unix://` address, open to the owner's group; raises OSError."""
    path = Path(listen.path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _refuse_live_socket(listen.path)
        path.unlink(missing_ok=True)
        made.bind(listen.path)
        path.chmod(UNIX_MODE)
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def remove(listen: Listen) -> None:
    """Take away the file of a `unix://` address that was served here, unless somebody else has begun to listen there meanwhile."""
    with suppress(OSError):
        _refuse_live_socket(listen.path)
        Path(listen.path).unlink(missing_ok=True)


def _bind_once(family: int, kind: int, protocol: int, address: object) -> None:
    """Bind without SO_REUSEPORT: with it, a second sidecar would quietly take half of the first one's connections."""
    try:
        probe = socket.socket(family, kind, protocol)
    except OSError:
        return  # a machine without IPv6
    with probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(address)  # type: ignore[arg-type]


def _refuse_live_socket(path: str) -> None:
    """A socket file that nobody listens on may be replaced; anything else may not."""
    if not os.path.lexists(path):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            if Path(path).is_socket():
                return
            raise FileExistsError(errno.EEXIST, "a file of that name exists") from None
        except BlockingIOError:
            pass  # its queue is full, so somebody listens
    raise OSError(errno.EADDRINUSE, "in use")


def _refuse_closed_directory(directory: Path) -> None:
    """A socket is made anew at each start: so its directory is there, and takes in and gives away files."""
    if not stat.S_ISDIR(directory.stat().st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def sentence(name: str, listen: Listen, error: OSError) -> str:
    """What is wrong with `listen`, the setting `name`, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"{name}: {listen} is in use by another program; stop it or choose another address"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{name}: {listen} may not be used by this user; choose a port from 1024 on, or a directory that it may write"
    return f"{name}: {listen} cannot be listened on ({error.strerror}); choose another address"
