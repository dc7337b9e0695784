"""A worker process of the authorizer: what a worker of the data plane is, but for what answers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence

from sidecar.settings.declaration import Settings
from sidecar.worker.authz.plane import AuthzPlane
from sidecar.worker.process import run


def main(settings: Settings, *, index: int, listen_fds: Sequence[int], ready: Callable[[], None]) -> int:
    """Be worker number `index`. `listen_fds` are sockets to accept from, which others may have too; without any we bind our own."""
    _wait_for_the_proxy()
    return run(settings, index, listen_fds, ready, AuthzPlane)


def _wait_for_the_proxy() -> None:
    """Not interrupt, for each question, the proxy on the same core that is about to send the next ones (docs/decisions/0015).

    SCHED_BATCH of sched(7), Linux only; where it is not allowed each question costs a switch more.
    """
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
