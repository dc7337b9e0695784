"""Fixtures for everybody."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sidecar.store.client import Store
from tests.support.store import Server, open_store


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
