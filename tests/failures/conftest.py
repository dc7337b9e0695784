"""A hub that fails in every way; and the event loop that the data plane runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.support.loops import product
from tests.support.raw_hub import RawHubProcess, raw_hub_process


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The product's own."""
    return {"product": product}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RawHubProcess]:
    """A hub that does whatever a request asks for."""
    with raw_hub_process(tmp_path_factory.mktemp("hub")) as hub:
        yield hub
