"""Where the embedded store listens: a unix socket in the data directory, never a network port."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from sidecar.settings.check import LONGEST_SOCKET_PATH


def embedded_socket(data_dir: Path) -> Path:
    """The socket of the embedded store of `data_dir`; the same for every process of a sidecar.

    A data directory whose path is too long for a socket gets one in a private directory under the
    system's temporary directory, named by a hash of the path and of the user, so that two sidecars
    never meet. Whoever starts the server makes that directory with `make_socket_directory`.
    """
    inside = data_dir.absolute() / "store" / "store.sock"
    if len(os.fsencode(inside)) <= LONGEST_SOCKET_PATH:
        return inside
    name = hashlib.blake2b(os.fsencode(data_dir.absolute()), digest_size=10, person=b"sidecar socket").hexdigest()
    return Path(tempfile.gettempdir()) / f"sidecar-{os.getuid()}-{name}" / "store.sock"


def make_socket_directory(socket: Path) -> None:
    """Make the directory of `socket`, private to this user; raises PermissionError when somebody else owns it."""
    socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = socket.parent.lstat()
    # The name under /tmp can be guessed: a directory that another user made first must not be used.
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{socket.parent} must belong to the sidecar's user and be private (chmod 700)")
