"""Many replicas, one detection: who detects, what reaches it, who goes on."""

from __future__ import annotations

import time
from typing import Any, Literal

import msgspec
import pytest
from msgspec.structs import replace

from sidecar.control.anomaly import replicas as module
from sidecar.control.anomaly.detectors.second import Second
from sidecar.control.anomaly.detectors.signals import DAY
from sidecar.control.anomaly.replicas import AT_ONCE, INBOX_LENGTH, Replicas
from sidecar.settings.declaration import Log
from sidecar.store import names
from sidecar.store.client import Store, StoreUnavailable
from tests.control.anomaly.conftest import Bench
from tests.control.anomaly.life import AWAY, served
from tests.control.anomaly.test_queries import _anomaly
from tests.support.store import until


async def test_one_holds_the_seat_until_it_leaves_or_is_gone(store: Store) -> None:
    one, two = Replicas(store, "one"), Replicas(store, "two")
    assert await one.hold_seat() and not await two.hold_seat() and await one.hold_seat()
    assert await Replicas(store, "one").hold_seat(), "after a restart"
    await two.leave()
    assert not await two.hold_seat()
    await one.leave()
    await until(two.hold_seat)
    await store.call("PEXPIRE", names.ANOMALY_SEAT, 1)
    await until(one.hold_seat)
    assert not await two.hold_seat() and not two.leads


async def test_one_can_tell_that_another_has_held_the_seat_in_between(store: Store) -> None:
    one, two = Replicas(store, "one"), Replicas(store, "two")
    assert await one.hold_seat() and one.was_away, "it cannot know what was before"
    assert await one.hold_seat() and not one.was_away
    await store.call("DEL", names.ANOMALY_SEAT)
    assert await one.hold_seat() and not one.was_away, "it was late, but nobody came"
    await store.call("DEL", names.ANOMALY_SEAT)
    assert await two.hold_seat()
    await two.leave()
    await until(one.hold_seat)
    assert one.was_away
    assert await one.hold_seat() and not one.was_away
    assert not await two.hold_seat() and two.was_away


async def test_one_whose_clock_is_ahead_drops_no_anomaly_of_all(bench: Bench) -> None:
    await bench.create(None)
    engine = bench.detection.engine
    young, old = _anomaly(1), _anomaly(3)
    assert young.state == old.state == "closed"
    young.started_at, old.started_at = time.time() - DAY, time.time() - 100 * DAY
    await engine.storage.save([], [young, old])
    bench.keys.clock.now, engine._saved_at = time.time() + 400 * DAY, 0.0
    await engine.tick(bench.keys.clock.now)
    assert [one.id for one in await engine.storage.reread([young, old])] == [young.id]


async def test_traffic_arrives_whole_and_once(store: Store) -> None:
    one, two = Replicas(store, "one"), Replicas(store, "two")
    sent = [served(1000 + number, number, key=f"key_{number}") for number in range(2 * AT_ONCE + 1)]
    await one.send(sent)
    await one.send([])
    assert await two.receive() == sent
    assert await two.receive() == []


async def test_what_was_taken_before_the_store_went_away_is_not_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = Replicas(store, "one"), Replicas(store, "two")
    sent = [served(1000 + number, key=f"key_{number}") for number in range(AT_ONCE + 1)]
    for second in sent:
        await one.send([second])
    call, answers = store.call, [True, False]

    async def answered(*command: Any) -> Any:
        if answers and not answers.pop(0):
            raise StoreUnavailable("gone")
        return await call(*command)

    monkeypatch.setattr(store, "call", answered)
    assert await two.receive() == sent[:AT_ONCE]
    assert await two.receive() == sent[AT_ONCE:]
    answers.append(False)
    with pytest.raises(StoreUnavailable):
        await two.receive()


async def test_the_traffic_of_many_arrives_at_one_look(store: Store) -> None:
    one, two = Replicas(store, "one"), Replicas(store, "two")
    for number in range(INBOX_LENGTH - 1):
        await store.call("RPUSH", names.ANOMALY_INBOX, msgspec.msgpack.encode([Second(f"key_{number}", 1)]))
    await one.tell("anm_1")
    assert [second.key_id for second in await two.receive()] == [f"key_{number}" for number in range(INBOX_LENGTH - 1)]
    assert two.told == ["anm_1"]
    assert await store.call("EXISTS", names.ANOMALY_INBOX) == 0


async def test_one_look_takes_no_more_than_an_inbox_holds(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would never end while others send faster than it reads."""
    monkeypatch.setattr(module, "INBOX_LENGTH", 3 * AT_ONCE)
    parts = [msgspec.msgpack.encode([Second("key_1", 1)])] * (3 * AT_ONCE + 1)
    await store.call("RPUSH", names.ANOMALY_INBOX, *parts)
    two = Replicas(store, "two")
    assert [len(await two.receive()) for _ in range(3)] == [3 * AT_ONCE, 1, 0]


async def test_the_log_says_now_and_then_that_traffic_was_dropped(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "INBOX_LENGTH", 2)
    one = Replicas(store, "one")
    for number in range(2):
        await one.send([Second(f"key_{number}", 1)])
    assert caplog.messages == []
    await one.send([Second(f"key_{number}", 1) for number in range(2 * AT_ONCE + 1)])
    for number in range(2):
        await one.send([Second(f"late_{number}", 1)])
    (told,) = caplog.messages
    assert told.startswith("3 parts of the traffic were dropped")
    one._tell_at = 0.0
    await one.send([Second("last", 1)])
    assert [message.split()[0] for message in caplog.messages] == ["3", "3"]


async def test_what_a_newer_version_sends_is_no_obstacle(store: Store) -> None:
    replicas = Replicas(store, "one")
    await store.call("RPUSH", names.ANOMALY_INBOX, b"\xc1nonsense")
    await replicas.send([Second("key_1", 1)])
    assert [second.key_id for second in await replicas.receive()] == ["key_1"]


async def test_what_people_said_is_told_beside_the_traffic(store: Store) -> None:
    one, two = Replicas(store, "one"), Replicas(store, "two")
    await one.send([Second("key_1", 1)])
    await one.tell("anm_1")
    await one.send([Second("key_2", 1)])
    await one.tell("anm_2")
    assert [second.key_id for second in await two.receive()] == ["key_1", "key_2"]
    assert two.told == ["anm_1", "anm_2"]


async def test_the_detectors_see_the_traffic_of_all_replicas(bench: Bench) -> None:
    await bench.create("notify")
    first = bench.detection
    second = bench.start("two")
    for _ in range(6):
        second.engine.observer.sums.add(served(bench.now + 1, 4, client=AWAY, agent="curl/8", key=bench.key.id))
        await second.engine.tick(bench.now)
        bench.keys.clock.now += 11
        await first.engine.tick(bench.now)
    assert [document["level"] for document in await bench.documents()] == ["page"]
    assert list(first.engine.active()) and not list(second.engine.active())
    assert not second.engine.observer.watches


@pytest.mark.parametrize("form", ["network", "hash"])
async def test_the_store_gets_no_address_where_none_is_to_be_kept(bench: Bench, form: Literal["network", "hash"]) -> None:
    await bench.create("notify")
    first = bench.detection
    bench.settings = replace(bench.settings, log=Log(client_address=form))
    second = bench.start("two")
    for _ in range(6):
        second.engine.observer.sums.add(served(bench.now + 1, 4, client=AWAY, agent="curl/8", key=bench.key.id))
        await second.engine.tick(bench.now)
        (sent,) = await bench.store.call("LRANGE", names.ANOMALY_INBOX, 0, -1)
        assert AWAY.encode() not in sent
        bench.keys.clock.now += 11
        await first.engine.tick(bench.now)
    assert [document["level"] for document in await bench.documents()] == ["page"]


async def test_whoever_takes_the_seat_goes_on_with_what_is_known(bench: Bench) -> None:
    await bench.create("notify")
    await bench.theft(1)
    first = bench.detection
    (begun,) = await bench.documents()
    second = bench.start("two")
    await second.engine.tick(bench.now)
    assert not second.engine.observer.episodes.open
    await first.engine.finish()
    await until(second.engine._replicas.hold_seat)
    await bench.theft(6)
    (grown,) = await bench.documents()
    assert (grown["id"], grown["level"]) == (begun["id"], "page")
    first.engine.observer.sums.add(served(bench.now, 1, client=AWAY, key=bench.key.id))
    await first.engine.tick(bench.now)
    assert not first.engine.observer.watches and not first.engine.observer.episodes.open


async def test_whoever_slept_through_anothers_turn_goes_on_with_what_that_one_saved(bench: Bench) -> None:
    await bench.create("notify")
    first = bench.detection
    await bench.store.call("DEL", names.ANOMALY_SEAT)
    second = bench.start("two")
    await bench.theft(6)
    (paged,) = await bench.documents()
    await second.engine.finish()
    bench.detection = first

    async def is_free() -> bool:
        return await bench.store.call("GET", names.ANOMALY_SEAT) is None

    await until(is_free)
    await bench.theft(6)
    (grown,) = await bench.documents()
    assert (grown["id"], grown["level"]) == (paged["id"], "page")
