"""What people acknowledge while nobody detects: whoever detects next knows that it was nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from sidecar.control.anomaly.compose import Detection
from sidecar.control.anomaly.index import FOR_EVER
from sidecar.store import names
from tests.control.anomaly.conftest import Bench, Receiver
from tests.control.anomaly.life import AWAY, refused, served


async def _restarted(bench: Bench) -> Detection:
    """The same process again, before its first look."""
    await bench.detection.engine.finish()
    return bench.start()


async def _outlived(bench: Bench) -> Detection:
    """Another one, which has joined; the first has saved all and died, and its seat is not yet over."""
    await bench.detection.engine._save(bench.keys.clock.now)
    other = bench.start("other")
    await other.engine.tick(bench.now)
    return other


async def _died_before_it_heard(bench: Bench) -> Detection:
    """Another one, which has joined; the first one saves once more what it knows, and dies, after the other one was told."""
    first, other = bench.detection, await _outlived(bench)
    (document,) = await bench.documents()
    await other.queries.acknowledge(document["id"], "ours", "adm_1")
    memory = first.engine.observer.watches[bench.key.id].memory
    assert memory.raised
    await first.engine.storage.save([(bench.key.id, memory)])
    return other


@pytest.mark.parametrize("left", [_restarted, _outlived, _died_before_it_heard])
async def test_an_acknowledged_theft_is_neither_told_nor_answered_again(bench: Bench, receiver: Receiver, left: Any) -> None:
    await bench.create("disable")
    await bench.theft()
    (document,) = await bench.documents()
    await bench.deliver()
    assert (await bench.read_key()).disabled and len(receiver.bodies) == 1
    heir = await left(bench)
    await heir.queries.acknowledge(document["id"], "ours", "adm_1")
    await bench.keys.repository.update(bench.key.id, lambda key: replace(key, disabled=False))
    await bench.store.call("DEL", names.ANOMALY_SEAT)
    bench.detection = heir
    for _ in range(3):
        await bench.see(served(bench.now + 590, 4, client=AWAY, agent="curl/8", model="model-b", key=bench.key.id))
    await bench.deliver()
    assert not (await bench.read_key()).disabled and len(receiver.bodies) == 1
    told = {one["id"]: one for one in await bench.documents()}
    first = told.pop(document["id"])
    assert (first["state"], first["reason"], first["signals"]) == ("acknowledged", "ours", document["signals"] and first["signals"])
    assert {signal["signal"] for signal in first["signals"]} == {signal["signal"] for signal in document["signals"]}
    # What is new since then is a matter of its own, and no page.
    assert [one["level"] for one in told.values() if one["level"] == "page"] == []


@pytest.mark.parametrize("left", [_restarted, _outlived])
async def test_an_acknowledged_network_is_not_told_again(bench: Bench, receiver: Receiver, left: Any) -> None:
    await bench.create(None)
    await bench.see(*(refused(bench.now + step, "invalid_api_key", 30, client=AWAY, key="") for step in range(1, 100, 11)))
    (document,) = await bench.documents()
    await bench.deliver()
    told = len(receiver.bodies)
    heir = await left(bench)
    await heir.queries.acknowledge(document["id"], "a scanner of ours", "adm_1")
    await bench.store.call("DEL", names.ANOMALY_SEAT)
    bench.detection = heir
    for step in (1, 40):
        await bench.see(refused(bench.now + step, "invalid_api_key", 1, client=AWAY, key=""))
    await bench.deliver()
    assert [(one["id"], one["state"]) for one in await bench.documents()] == [(document["id"], "acknowledged")]
    assert len(receiver.bodies) == told


async def test_a_mute_that_a_hand_wrote_beyond_every_calendar_stops_nothing(bench: Bench) -> None:
    await bench.create("notify")
    await bench.theft()
    (document,) = await bench.documents()
    await bench.detection.engine.finish()
    place = names.anomalies(names.shard_of(bench.key.id))
    stored = msgspec.json.decode(await bench.store.call("HGET", place, document["id"]))
    await bench.store.call("HSET", place, document["id"], msgspec.json.encode(stored | {"muted_until": 1e300}))
    for _ in range(2):
        bench.start()
        await bench.detection.engine.tick(bench.now)
        memory = bench.detection.engine.observer.watches[bench.key.id].memory
        assert not memory.raised and set(memory.muted.values()) == {int(FOR_EVER)}
        await bench.detection.engine.finish()
