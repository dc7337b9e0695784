"""A hub that fails in every way; and the event loop that the data plane runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

import pytest

from sidecar.loop import factory
from tests.support.raw_hub import RawHubProcess, raw_hub_process


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """uvloop where it is installed: its transports end, pause and fail in other orders than asyncio's own."""
    return {"product": factory()}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RawHubProcess]:
    """A hub that does whatever a request asks for."""
    with raw_hub_process(tmp_path_factory.mktemp("hub")) as hub:
        yield hub
