"""The listeners are tested on the event loop that they run on, and on asyncio's own, which has other transports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.support.loops import product

_OF_LISTENERS = ("test_serving.py", "test_accepting.py", "test_connection.py", "test_unrouted.py")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The product's own too."""
    asyncios = {"asyncio": asyncio.new_event_loop}
    return {**asyncios, "product": product} if item.path.name in _OF_LISTENERS else asyncios
