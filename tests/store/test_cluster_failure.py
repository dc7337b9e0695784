"""What a Redis Cluster that does not answer in part says of itself: readiness rests on it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from sidecar.store import names
from sidecar.store.client import Store, StoreUnavailable
from tests.support.cluster import cluster, cluster_settings, opened, owner, writes
from tests.support.store import Server, until

QUESTION = ("HMGET", names.META, "epoch")


async def _answers(store: Store) -> bool:
    with contextlib.suppress(StoreUnavailable):
        return bool(await store.call(*QUESTION) == [None])
    return False


async def test_a_store_whose_other_parts_hang_still_opens_keys(tmp_path: Path) -> None:
    """Else the outage of some keys would take every sidecar out of its balancer, and so be one of all of them."""
    async with cluster(tmp_path) as servers, opened(cluster_settings(servers), tmp_path) as store:
        identity = owner(servers, names.META)
        await until(lambda: _answers(store))
        name = next(f"k{n}" for n in range(1000) if owner(servers, f"k{n}") == (identity - 1) % 3)
        servers[identity - 1].freeze()
        for _ in range(5):
            assert not await writes(store, name)
            assert store.failure is None
            assert await _answers(store)


async def test_who_asks_nothing_more_is_told_when_the_store_answers_again(tmp_path: Path) -> None:
    """A sidecar that was taken out of its balancer gets no requests, whose answers could tell."""
    async with cluster(tmp_path) as servers, opened(cluster_settings(servers), tmp_path) as store:
        await until(lambda: _answers(store))
        server = servers[owner(servers, names.META)]
        server.freeze()
        with pytest.raises(StoreUnavailable):
            await store.call(*QUESTION)
        assert store.failure is not None
        server.thaw()
        await until(lambda: store.failure is None)


@pytest.mark.parametrize("flavour", ["valkey", "redis"])
async def test_a_server_of_no_cluster_is_told_from_one_that_is_away(tmp_path: Path, flavour: str) -> None:
    server = Server(tmp_path, flavour=flavour, tcp=True)
    try:
        server.start()
        async with opened(cluster_settings([server]), tmp_path) as store:
            await until(lambda: "is no Redis Cluster" in str(store.failure))
            with pytest.raises(StoreUnavailable, match="write redis:// or rediss://"):
                await store.call(*QUESTION)
    finally:
        server.kill()
