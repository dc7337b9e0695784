"""A worker process of the authorizer: what a worker of the data plane is, but for what answers."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.settings.declaration import Settings
from sidecar.worker.authz.plane import AuthzPlane
from sidecar.worker.process import run


def main(settings: Settings, *, index: int, listen_fd: int | None, ready: Callable[[], None]) -> int:
    """Be worker number `index`. `listen_fd` is a socket to accept from, which others may have too, or None to bind one of our own."""
    return run(settings, index, listen_fd, ready, AuthzPlane)
