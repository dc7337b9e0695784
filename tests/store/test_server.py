"""A primary, its replica and sentinels as real processes: who is asked, and what proves the lease."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sidecar.store.client import StoreUnavailable
from tests.support.cluster import leased, opened, watched, writes
from tests.support.keys import open_keys, shape
from tests.support.store import until


async def test_sentinel_failover(tmp_path: Path) -> None:
    async with watched(tmp_path) as (servers, settings), opened(settings, tmp_path) as store:
        keys = await open_keys(store, tmp_path)
        issued = await keys.repository.create(shape())
        assert await store.durable()
        async with leased(store, keys) as (lease, changes):
            servers[0].kill()
            await until(lambda: not lease.fresh(time.monotonic()), within=3.0)
            took = await until(lambda: writes(store), within=15.0)
            await until(lambda: lease.fresh(time.monotonic()), within=3.0)
            assert changes.count(None) >= 2
            found = await keys.repository.identify(issued.token.encode())
            assert found is not None, f"lost in a failover that took {took:.1f} s"


async def test_a_cut_off_primary_does_not_prove_the_lease(tmp_path: Path) -> None:
    """It still answers reads; what it cannot do is write, once it misses its replica."""
    async with watched(tmp_path, sentinels=1) as (servers, settings), opened(settings, tmp_path) as store:
        primary, replica = servers
        primary.command("CONFIG", "SET", "min-replicas-to-write", "1")
        primary.command("CONFIG", "SET", "min-replicas-max-lag", "1")
        keys = await open_keys(store, tmp_path)
        async with leased(store, keys) as (lease, _):
            replica.kill()
            await until(lambda: not lease.fresh(time.monotonic()), within=6.0)
            with pytest.raises(StoreUnavailable, match="too few replicas"):
                await store.call("SET", "x", "1")
            assert await store.call("GET", "x") is None
