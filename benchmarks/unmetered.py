"""The sidecar without its metering, to see what metering costs: there is no such product, only this.

`python -m benchmarks.unmetered serve` is `sidecar serve` whose workers read no usage out of an answer and
write no events of requests. All else is the same build.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from sidecar import child
from sidecar.cli import serve
from sidecar.cli.main import main as command
from sidecar.hubs.profile import Profile
from sidecar.settings import Settings
from sidecar.worker.plane import DataPlane
from sidecar.worker.process import run


class Nowhere:
    """Where events are not kept."""

    def append(self, record: bytes) -> bool:
        """Do nothing."""
        del record
        return True


def plane(
    settings: Settings, profile: Profile, keys: Any, limiter: Any, spool: Any, loop: asyncio.AbstractEventLoop, **more: Any
) -> DataPlane:
    """The product's data plane, with its meter's spool and its profile's words for usage taken away."""
    del spool
    routes = tuple(msgspec.structs.replace(route, usage="none") for route in profile.routes)
    return DataPlane(settings, msgspec.structs.replace(profile, routes=routes), keys, limiter, Nowhere(), loop, **more)


def main(settings: Settings, *, index: int, listen_fds: Sequence[int], ready: Callable[[], None]) -> int:
    """Be an unmetered worker."""
    return run(settings, index, listen_fds, ready, cast(Any, plane))


def _start() -> int:
    """Be the command, or a child of it."""
    if sys.argv[1] == "serve":
        serve.CHILD = (sys.executable, "-P", "-m", "benchmarks.unmetered")
        return command(sys.argv[1:])
    child.ROLES["worker"] = "benchmarks.unmetered"
    return child.main()


if __name__ == "__main__":
    sys.exit(_start())
