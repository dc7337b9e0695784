"""A worker process of the authorizer: what a worker of the data plane is, but for what answers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from sidecar.settings.declaration import Settings
from sidecar.worker.authz.plane import AuthzPlane
from sidecar.worker.process import run


def main(settings: Settings, *, index: int, listen_fd: int | None, ready: Callable[[], None]) -> int:
    """Be worker number `index`. `listen_fd` is a socket to accept from, which others may have too, or None to bind one of our own."""
    _wait_for_the_proxy()
    return run(settings, index, listen_fd, ready, AuthzPlane)


def _wait_for_the_proxy() -> None:
    """Not interrupt, for each question, the proxy on the same core that is about to send the next ones (docs/decisions/0015).

    SCHED_BATCH of sched(7), Linux only; where it is not allowed each question costs a switch more.
    """
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
