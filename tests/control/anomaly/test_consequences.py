"""What becomes of pages while a shard is away, as those are whose server in a Cluster has died."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from sidecar.control.anomaly.episodes import Change
from sidecar.control.anomaly.record import Anomaly
from sidecar.settings.declaration import OnAnomaly
from sidecar.store import names
from sidecar.store.client import StoreUnavailable
from tests.control.anomaly.conftest import Bench, Receiver
from tests.control.anomaly.life import served
from tests.control.anomaly.test_queries import _anomaly
from tests.control.support.away import partly_away
from tests.control.support.events import key_id


async def test_a_page_of_another_shard_is_told_once_and_acted_on(bench: Bench, receiver: Receiver) -> None:
    await bench.create("disable")
    # A page of a key that is not there is told by what the settings say.
    bench.start(on_anomaly="notify")
    await bench.detection.engine.tick(bench.now)
    away = partly_away(bench.store)
    away.shards = {1 if names.shard_of(bench.key.id) != 1 else 2}
    lost = next(key for key in map(key_id, range(1000)) if names.shard_of(key) in away.shards)
    other = replace(_anomaly(0), key_id=lost, source="", state="open", level="page")
    bench.detection.engine.unsaved.note([Change(other, "page")])
    for _ in range(6):
        with pytest.raises(StoreUnavailable):
            await bench.theft(1)
        await bench.deliver()
    assert [body["data"]["key_id"] for body in receiver.bodies] == [bench.key.id]
    assert (await bench.read_key()).disabled
    away.shards = set()
    await bench.detection.engine.tick(bench.now)
    await bench.deliver()
    assert [body["data"]["key_id"] for body in receiver.bodies] == [bench.key.id, lost]


async def test_a_page_whose_policy_cannot_be_read_waits_alone(bench: Bench, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.create("notify")
    bench.start(on_anomaly="notify")
    consequences = bench.detection.engine._consequences
    policy, lost = consequences._responder.policy, replace(_anomaly(0), key_id=key_id(7), source="", state="open")

    async def read(anomaly: Anomaly) -> tuple[OnAnomaly, str]:
        if anomaly is lost:
            raise StoreUnavailable("a server is away")
        return await policy(anomaly)

    monkeypatch.setattr(consequences._responder, "policy", read)
    bench.detection.engine.unsaved.note([Change(lost, "page")])
    for _ in range(6):
        with pytest.raises(StoreUnavailable):
            await bench.theft(1)
        await bench.deliver()
    assert [body["data"]["key_id"] for body in receiver.bodies] == [bench.key.id]
    assert bench.detection.engine.unsaved.waits(lost.id)


async def test_a_key_that_cannot_be_read_keeps_no_other_from_being_watched(bench: Bench, receiver: Receiver) -> None:
    await bench.create("notify")
    away = partly_away(bench.store)
    away.shards = {1 if names.shard_of(bench.key.id) != 1 else 2}
    lost = next(key for key in map(key_id, range(1000)) if names.shard_of(key) in away.shards)
    new = next(key for key in map(key_id, range(1000)) if names.shard_of(key) not in away.shards)
    engine = bench.detection.engine
    for key in (lost, new):
        engine.observer.sums.add(served(bench.now + 1, 4, key=key))
    for _ in range(6):
        with pytest.raises(StoreUnavailable):
            await bench.theft(1)
    assert new in engine.observer.watches and lost not in engine.observer.watches
    await bench.deliver()
    assert [body["data"]["key_id"] for body in receiver.bodies] == [bench.key.id]
    away.shards = set()
    await engine.tick(bench.now)
    assert lost in engine.observer.watches
