"""What a detection takes up where part of a Cluster is away when it begins: its keys wait, and no others."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from sidecar.control.anomaly.compose import SHARED
from sidecar.store import names
from sidecar.store.client import StoreUnavailable
from tests.control.anomaly.conftest import Bench, Receiver
from tests.control.anomaly.life import AWAY, served
from tests.control.anomaly.test_queries import _anomaly
from tests.control.support.away import partly_away
from tests.control.support.events import key_id

NETWORKS = 0
"""The shard that the networks are in, without which nothing begins."""


def _in_shard(wanted: int) -> str:
    return next(key for key in map(key_id, range(1000)) if names.shard_of(key) == wanted)


async def test_a_key_whose_shard_is_away_waits_alone_and_its_page_goes_on(bench: Bench, receiver: Receiver) -> None:
    await bench.create("notify")
    while names.shard_of(bench.key.id) == NETWORKS:
        await bench.create("notify")
    await bench.theft()
    await bench.deliver()
    (page,) = await bench.documents()
    away = partly_away(bench.store)
    away.shards = {names.shard_of(bench.key.id)}
    engine = bench.start().engine
    other = _in_shard(names.shard_of(bench.key.id) % 15 + 1)
    for _ in range(3):
        engine.observer.sums.add(served(bench.now + 1, 4, key=other))
        with pytest.raises(StoreUnavailable):
            await bench.theft(1)
    assert engine.detects and other in engine.observer.watches and bench.key.id not in engine.observer.watches
    with pytest.raises(StoreUnavailable):
        await engine.know(bench.key.id)
    away.shards = set()
    await bench.theft(1)
    await bench.deliver()
    assert bench.key.id in engine.observer.watches and len(receiver.bodies) == 1
    (after,) = await bench.documents()
    assert (after["id"], after["state"]) == (page["id"], "open") and after["updated_at"] > page["updated_at"]


async def test_a_page_of_another_shard_is_taken_up_at_once(bench: Bench, receiver: Receiver) -> None:
    await bench.create("notify")
    await bench.theft()
    away = partly_away(bench.store)
    away.shards = {names.shard_of(bench.key.id) % 15 + 1}
    engine = bench.start().engine
    with pytest.raises(StoreUnavailable):
        await bench.theft(1)
    assert bench.key.id in engine.observer.episodes.open
    await bench.deliver()
    assert len(receiver.bodies) == 1


async def test_of_two_episodes_of_a_network_the_older_one_ends(bench: Bench) -> None:
    """It may have begun again while the first one was not known."""
    source = next(name for number in range(99) if names.shard_of(name := f"203.0.{number}.0/24") != NETWORKS)
    first = replace(_anomaly(0), id="anm_first", subject="source", key_id="", source=source, instance=SHARED, active=["many_keys"])
    await bench.detection.engine.storage.save([], [first])
    away = partly_away(bench.store)
    away.shards = {names.shard_of(source)}
    engine = bench.start().engine
    with pytest.raises(StoreUnavailable):
        await engine.tick(bench.now)
    engine.observer.episodes.open[source] = replace(first, id="anm_second")
    away.shards = set()
    await engine.tick(bench.now)
    stored = await engine.storage.anomaly("anm_first")
    assert stored is not None and (stored.state, stored.ended_at) == ("closed", bench.now)
    assert engine.observer.episodes.open[source].id == "anm_second"


async def test_a_stranger_is_found_where_another_shard_is_away(bench: Bench, receiver: Receiver) -> None:
    await bench.create("notify")
    await bench.detection.engine.finish()
    away = partly_away(bench.store)
    away.shards = {names.shard_of(bench.key.id) % 15 + 1}
    bench.start()
    for _ in range(6):
        bench.detection.engine.observer.sums.add(served(bench.now + 1, 4, client=AWAY, agent="curl/8", key=bench.key.id))
        with pytest.raises(StoreUnavailable):
            await bench.theft(1)
    await bench.deliver()
    assert [body["data"]["key_id"] for body in receiver.bodies] == [bench.key.id]
