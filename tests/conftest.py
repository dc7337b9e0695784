"""Fixtures for everybody."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from sidecar.store.client import Store
from tests.support.store import Server, open_store

# By itself Hypothesis fails an example that takes 200 ms: on a busy machine that says nothing about what is tested.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


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


@pytest.fixture
async def store(valkey: Server) -> AsyncIterator[Store]:
    """A Store connected to `valkey`, with a deadline that a busy machine keeps too."""
    store = await open_store(valkey, timeout=2.0)
    yield store
    await store.close()
