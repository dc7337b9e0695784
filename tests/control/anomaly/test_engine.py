from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sidecar.control.anomaly import engine as engine_module
from sidecar.control.anomaly.compose import Detection
from sidecar.control.anomaly.detectors.second import NO_KEY
from sidecar.control.anomaly.detectors.signals import DAY, HOUR, Level
from sidecar.control.anomaly.document import time
from sidecar.control.anomaly.notifications import delivery as delivery_module
from sidecar.control.anomaly.notifications.outbox import Message
from sidecar.control.anomaly.record import Anomaly
from sidecar.keys.digest import Pepper
from sidecar.store.client import Store, StoreUnavailable
from tests.control.anomaly.conftest import Bench, Receiver
from tests.control.anomaly.life import AWAY, BORN, refused, served
from tests.support.keys import PEPPER, shape
from tests.support.store import Server
from tests.support.waiting import until

NEW_PEPPER = Pepper.of(b"n" * 32)


async def _tell(bench: Bench) -> None:
    await bench.create("notify")
    await bench.theft()
    await bench.deliver()


async def _told_and_joined(bench: Bench) -> tuple[Detection, Detection, dict[str, Any]]:
    """An instance that has told of a theft, another one that joins it, and the anomaly."""
    await _tell(bench)
    first = bench.detection
    (document,) = await bench.documents()
    return first, bench.start("other"), document


async def test_a_page_arrives_with_name_and_evidence_and_once(bench: Bench, receiver: Receiver) -> None:
    await _tell(bench)
    await bench.theft()
    await bench.deliver()
    (body,) = receiver.bodies
    assert body["type"] == "anomaly.page"
    assert (body["data"]["key_name"], body["data"]["key_id"]) == ("billing", bench.key.id)
    assert body["data"]["summary"].startswith("First use from 203.0.113.0/24; ")
    assert receiver.headers[0]["webhook-signature"].startswith("v1,")


async def test_what_a_key_did_before_it_was_watched_is_not_silence_and_it_is_learnt_like_a_new_one(bench: Bench) -> None:
    """It may have lain in a drawer, or the detection is new: neither its age nor its first day says what is usual."""
    bench.key = (await bench.keys.repository.create(shape("billing"))).key
    start = BORN + 30 * DAY
    for minute in range(120):
        await bench.see(served(start + 60 * minute, key=bench.key.id))
    await bench.theft()
    assert await bench.documents() == []


async def test_a_key_that_observes_is_only_shown(bench: Bench, receiver: Receiver) -> None:
    await bench.create(None)
    await bench.theft()
    await bench.deliver()
    assert receiver.bodies == []
    assert [document["level"] for document in await bench.documents()] == ["page"]


@pytest.mark.parametrize("after", range(1, 7))
async def test_a_restart_in_the_middle_of_an_attack_loses_no_page_and_repeats_none(bench: Bench, receiver: Receiver, after: int) -> None:
    await bench.create("notify")
    await bench.theft(after)
    bench.start()
    await bench.theft(6)
    bench.start()
    await bench.theft(6)
    await bench.deliver()
    assert [body["type"] for body in receiver.bodies] == ["anomaly.page"]


async def test_a_repeat_carries_the_same_webhook_id(bench: Bench, receiver: Receiver) -> None:
    receiver.status = 500
    await _tell(bench)
    bench.start()
    receiver.status = 200
    bench.keys.clock.now += 60
    await bench.deliver()
    await bench.deliver()
    first, second = receiver.headers
    assert first["webhook-id"] == second["webhook-id"]
    assert first["webhook-timestamp"] != second["webhook-timestamp"]


class _Broken:
    """A store whose scripts fail."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def run(self, *args: Any) -> Any:
        raise StoreUnavailable("gone")


async def test_a_page_waits_for_the_store(bench: Bench, receiver: Receiver) -> None:
    await bench.create("notify")
    storage = bench.detection.engine.storage
    storage._store = _Broken(bench.store)  # type: ignore[assignment]
    for _ in range(6):
        bench.detection.engine.observer.sums.add(served(bench.now + 1, 4, client=AWAY, agent="curl/8", key=bench.key.id))
        bench.keys.clock.now += 11
        with pytest.raises(StoreUnavailable):
            await bench.detection.engine.tick(bench.keys.clock.now)
    storage._store = bench.store
    await bench.detection.engine.tick(bench.keys.clock.now)
    await bench.deliver()
    assert [body["type"] for body in receiver.bodies] == ["anomaly.page"]


async def test_nothing_is_looked_at_while_the_store_is_not_the_known_one(bench: Bench) -> None:
    await bench.create("notify")
    await bench.store.call("FLUSHALL")
    bench.start()
    with pytest.raises(StoreUnavailable):
        await bench.theft(1)
    assert await bench.store.call("DBSIZE") == 0


async def test_signals_are_exported_while_they_are_up(bench: Bench) -> None:
    await _tell(bench)
    engine = bench.detection.engine
    assert {(bench.key.id, "new_network"), (bench.key.id, "stranger")} <= set(engine.active())
    assert engine.raised()[bench.key.id, "stranger"] == 1
    assert engine.weights()["network_fanout"] == 4
    bench.keys.clock.now += 25 * HOUR
    await engine.tick(bench.keys.clock.now)
    assert list(engine.active()) == []


async def test_idle_keys_leave_memory_and_come_back_as_they_were(bench: Bench) -> None:
    await bench.create(None)
    engine = bench.detection.engine
    before = engine.observer.watches[bench.key.id].memory
    bench.keys.clock.now += engine_module.FORGET_AFTER + 60
    await engine.tick(bench.keys.clock.now)
    assert engine.observer.watches == {}
    await bench.see(served(bench.now, 10, key=bench.key.id))
    after = engine.observer.watches[bench.key.id].memory
    assert after.requests == before.requests + 10
    assert after.networks.sightings.keys() == before.networks.sightings.keys()


async def test_a_last_use_that_is_ahead_is_put_right_and_saved(bench: Bench) -> None:
    await bench.create(None)
    right = bench.now
    await bench.see(served(right + 30 * DAY, key=bench.key.id), served(right, key=bench.key.id))
    for later in (DAY - 1, DAY):
        bench.keys.clock.now = right + later
        bench.detection.engine._saved_at = 0.0
        await bench.detection.engine.tick(bench.keys.clock.now)
        (memory,) = await bench.detection.engine.storage.memories([bench.key.id])
        assert memory is not None and memory.last_used == (right if later == DAY else right + 30 * DAY)


async def test_what_waits_at_the_end_is_looked_at_and_saved(bench: Bench) -> None:
    await bench.create("notify")
    bench.detection.engine.observer.sums.add(served(bench.now, 4, client=AWAY, key=bench.key.id))
    await bench.detection.engine.finish()
    bench.start()
    await bench.see(served(bench.now, 1, client=AWAY, key=bench.key.id))
    assert [document["level"] for document in await bench.documents()] == ["notice"]


async def test_a_verdict_given_to_another_instance_is_taken_over(bench: Bench) -> None:
    first, other, document = await _told_and_joined(bench)
    await other.queries.acknowledge(document["id"], "a deployment", "adm_1")
    bench.keys.clock.now += 31
    await first.engine.tick(bench.keys.clock.now)
    assert bench.key.id not in first.engine.observer.episodes.open
    (document,) = await bench.documents()
    assert (document["state"], document["reason"]) == ("acknowledged", "a deployment")


async def test_the_loop_goes_on_when_the_store_comes_back(bench: Bench, valkey: Server) -> None:
    await bench.create(None)
    valkey.kill()
    with pytest.raises(StoreUnavailable):
        await bench.detection.engine.tick(bench.keys.clock.now)
    valkey.start()
    await until(lambda: bench.store.failure is None)
    await bench.detection.engine.tick(bench.keys.clock.now)


async def test_an_attack_on_nobodys_key_that_was_told_before_a_crash_ends(bench: Bench) -> None:
    await bench.create("notify")
    bench.start()
    await bench.see(refused(bench.now + 1, "invalid_api_key", 30, client=AWAY, key=NO_KEY))
    assert [document["level"] for document in await bench.documents(state="open")] == ["warn"]
    bench.start()
    for _ in range(9):
        bench.keys.clock.now += HOUR
        await bench.detection.engine.tick(bench.keys.clock.now)
    assert await bench.documents(state="open") == []
    (document,) = await bench.documents()
    assert (document["state"], [signal["active"] for signal in document["signals"]]) == ("closed", [False])


async def test_a_verdict_that_was_taken_over_leaves_nothing_up(bench: Bench) -> None:
    first, other, document = await _told_and_joined(bench)
    await other.queries.acknowledge(document["id"], "a deployment", "adm_1")
    said = bench.now
    bench.keys.clock.now += 31
    await first.engine.tick(bench.keys.clock.now)
    (document,) = await bench.documents()
    assert not any(signal["active"] for signal in document["signals"])
    assert document["ended_at"] is not None
    assert (document["acknowledged_at"], document["acknowledged_by"]) == (time(said), "adm_1")


async def test_what_another_instance_mutes_is_shown_as_quiet(bench: Bench) -> None:
    first, other, document = await _told_and_joined(bench)
    await other.queries.mute(document["id"], bench.now + HOUR)
    bench.keys.clock.now += 31
    await first.engine.tick(bench.keys.clock.now)
    (document,) = await bench.documents()
    assert document["state"] == "open" and document["muted_until"] is not None
    assert not any(signal["active"] for signal in document["signals"])


async def test_a_page_that_is_being_saved_when_the_process_is_told_to_end_is_not_lost(
    bench: Bench, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.create("notify")
    engine = bench.detection.engine
    consequences = engine._consequences
    tell, reached = consequences.tell, asyncio.Event()

    async def hang(anomaly: Anomaly, rose_to: Level, now: float) -> list[Message]:
        if rose_to == "page":
            reached.set()
            await asyncio.Event().wait()
        return await tell(anomaly, rose_to, now)

    with monkeypatch.context() as patched:
        patched.setattr(consequences, "tell", hang)
        task = asyncio.create_task(bench.theft(6))
        await asyncio.wait_for(reached.wait(), 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await engine.finish()
    bench.start()
    await bench.theft(2)
    await bench.deliver()
    assert [body["type"] for body in receiver.bodies] == ["anomaly.page"]


async def _go_on(bench: Bench) -> None:
    """Two more hours of the key's ordinary use."""
    for when in range(bench.now + 600, bench.now + 2 * HOUR, 600):
        await bench.see(served(when, 10, key=bench.key.id))


async def test_a_change_of_the_pepper_makes_nothing_new(bench: Bench) -> None:
    """Neither its first step, with the pepper before it, nor its last, without."""
    await bench.create("disable")
    await bench.change_pepper(NEW_PEPPER, PEPPER, shadow=False)
    await _go_on(bench)
    await bench.change_pepper(NEW_PEPPER, shadow=False)
    await _go_on(bench)
    assert await bench.documents() == []
    assert not (await bench.read_key()).disabled


async def test_what_is_learnt_after_a_store_was_lost_outlives_a_restart(bench: Bench) -> None:
    """The salt in use may come from a pepper of long ago, which nothing but the lost store remembered."""
    await bench.detection.engine.tick(bench.keys.clock.now)
    await bench.change_pepper(NEW_PEPPER, PEPPER)
    await bench.detection.engine.tick(bench.keys.clock.now)
    await bench.change_pepper(NEW_PEPPER)
    await bench.detection.engine.tick(bench.keys.clock.now)
    await bench.store.call("FLUSHALL")
    await bench.keys.adoption.adopt(bench.store)
    await bench.create("disable")
    await bench.detection.engine.finish()
    bench.start()
    await _go_on(bench)
    assert await bench.documents() == []


async def test_before_a_store_that_is_not_the_known_one_nothing_is_delivered_nor_dropped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies in its outbox is another's, which our pepper does not vouch for."""
    engine, delivery = bench.detection.engine, bench.detection.delivery
    await engine.tick(bench.now)
    await bench.store.call("FLUSHALL")
    theirs = Message("msg_1", "another", 3, "other", bench.now, bench.now, b"{}")
    await engine.storage.save([], [], [theirs])
    with pytest.raises(StoreUnavailable):
        await engine.tick(bench.now + 1)
    looks: list[bool] = []
    leads = delivery._leads
    monkeypatch.setattr(delivery, "_leads", lambda: looks.append(leads()) or looks[-1])
    monkeypatch.setattr(delivery_module, "LOOK_EVERY", 0.01)
    running = asyncio.create_task(delivery.run())
    await until(lambda: len(looks) >= 3)
    running.cancel()
    await asyncio.wait([running])
    assert [message.name for message in await engine.storage.messages()] == [theirs.name]
