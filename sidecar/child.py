"""A child of the supervisor: `python -m sidecar.child <role>`, started by `sidecar serve` and nobody else.

It takes its settings from the descriptor that it was given, ties its life to its parent's, and hands over
to the module of its role.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from sidecar import log
from sidecar.settings.load import from_bytes
from sidecar.supervisor.lifeline import die_with_parent

ROLES = {
    "control": "sidecar.control.process",
    "worker": "sidecar.worker.process",
    "authz": "sidecar.worker.authz.process",
    "store": "sidecar.supervisor.embedded_store",
}
"""Where each role's `main` is; only the one that is needed is imported, for a worker must stay small."""
NUMBERED = {"worker", "authz"}
"""Roles of which there may be several, each with its listener."""

_log = logging.getLogger("sidecar")


def main(arguments: list[str] | None = None) -> int:
    """Be the child that `arguments` describe; returns the exit code."""
    options = _options(arguments)
    # The store has a file to close. The others lose nothing by SIGKILL, and are not to drain when the sidecar is gone.
    die_with_parent(options.parent, signal.SIGTERM if options.role == "store" else signal.SIGKILL)
    with os.fdopen(options.settings_fd, "rb") as stream:
        settings = from_bytes(stream.read())
    log.setup(settings.log.level, f"{options.role}-{options.index}" if options.role in NUMBERED else options.role)
    given: dict[str, Any] = {"ready": _ready(options.ready_fd)}
    if options.role in NUMBERED:
        given.update(index=options.index, listen_fds=options.listen_fd)
    elif options.role == "control":
        given.update(admin_fds=options.admin_fd, metrics_fds=options.metrics_fd)
    try:
        return int(importlib.import_module(ROLES[options.role]).main(settings, **given))
    except Exception:
        _log.critical("%s ends on an unexpected error", options.role, exc_info=True)
        return 1


def _ready(fd: int) -> Callable[[], None]:
    os.set_inheritable(fd, False)

    def ready() -> None:
        """Tell the supervisor, once, that this process serves."""
        nonlocal fd
        if fd >= 0:
            os.write(fd, b"\n")
            os.close(fd)
            fd = -1

    return ready


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sidecar.child", description="Started by `sidecar serve`.")
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--index", type=int, default=0)
    parser.add_argument("--parent", type=int, required=True, help="process id of the supervisor")
    parser.add_argument("--settings-fd", type=int, required=True)
    parser.add_argument("--ready-fd", type=int, required=True)
    for name in ("listen", "admin", "metrics"):
        told = "a socket to accept from, one of several if repeated; without any the process binds its own"
        parser.add_argument(f"--{name}-fd", type=int, action="append", default=[], help=told)
    parser.add_argument("--lock-fd", type=int, default=None, help="holds the lock of data_dir for as long as this process lives")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
