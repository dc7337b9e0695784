"""Fixtures for everybody."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from sidecar.store.client import Store
from tests.support.patience import Patience
from tests.support.shared_store import SharedServer
from tests.support.store import Server, open_store

# By itself Hypothesis fails an example that takes 200 ms: on a busy machine that says nothing about what is tested.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    """A test that waits for ever does not keep the rest from being told."""
    config.pluginmanager.register(Patience())


def pytest_collection_finish() -> None:
    """Nine thousand tests are garbage for nobody: the collector need not look through them again and again."""
    gc.freeze()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Server]:
    """A running valkey-server of one's own, append-only file on, on a unix socket."""
    server = Server(tmp_path / "valkey")
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def shared_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    """What tests use that need a store, and nothing of its server."""
    shared = SharedServer(tmp_path_factory.mktemp("valkey"))
    yield shared
    shared.close()


@pytest.fixture
def store_server(request: pytest.FixtureRequest) -> Server:
    """The test's own server if it names one, else an empty one that others had before."""
    own = "valkey" in request.fixturenames
    server: Server = request.getfixturevalue("valkey") if own else request.getfixturevalue("shared_valkey").emptied()
    return server


@pytest.fixture
def store_timeout() -> float:
    """Seconds that each call of `store` may take: what a busy machine keeps too. Who waits them out names fewer."""
    return 10.0


@pytest.fixture
async def store(store_server: Server, store_timeout: float) -> AsyncIterator[Store]:
    """A Store connected to `store_server`."""
    store = await open_store(store_server, timeout=store_timeout)
    yield store
    await store.close()
