"""The listeners are tested on the event loop that they run on, and on asyncio's own, which has other transports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from sidecar.loop import factory

_OF_LISTENERS = ("test_serving.py", "test_accepting.py", "test_connection.py", "test_unrouted.py")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """uvloop too where it is installed: its transports end, pause and fail in other orders."""
    asyncios = {"asyncio": asyncio.new_event_loop}
    return {**asyncios, "product": factory()} if item.path.name in _OF_LISTENERS else asyncios
