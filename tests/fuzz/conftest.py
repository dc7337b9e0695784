"""The data plane is tested on the event loop that it runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from sidecar.loop import factory


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """uvloop where it is installed: its transports end, pause and fail in other orders than asyncio's own."""
    return {"product": factory()}
