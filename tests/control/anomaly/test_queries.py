from __future__ import annotations

from typing import Any

import pytest

from sidecar.control.anomaly import queries
from sidecar.control.anomaly.detectors.memory import Memory
from sidecar.control.anomaly.detectors.signals import DAY, HOUR
from sidecar.control.anomaly.record import Anomaly
from tests.control.anomaly.conftest import Bench, Receiver
from tests.control.anomaly.life import AWAY, refused, served


def _anomaly(index: int) -> Anomaly:
    return Anomaly(
        id=f"anm_{index:04d}", subject="key", key_id=f"key_{index % 7}", key_name="k", source="",
        level="page" if index % 3 == 0 else "warn", score=6, started_at=1000.0 + index // 2, updated_at=1000.0,
        state="closed" if index % 2 else "open", instance="x",
    )  # fmt: skip


async def test_pages_are_complete_in_order_and_without_repeats(bench: Bench) -> None:
    every = [_anomaly(index) for index in range(230)]
    await bench.detection.engine.storage.save([], every)
    seen: list[str] = []
    cursor = ""
    while True:
        page = await bench.detection.queries.anomalies(key_id=None, state=None, level=None, limit=20, cursor=cursor)
        seen += [document["id"] for document in page.documents]
        cursor = page.next_cursor
        if not cursor:
            break
    assert seen == [one.id for one in sorted(every, key=lambda one: (-one.started_at, one.id))]


async def test_filters(bench: Bench) -> None:
    every = [_anomaly(index) for index in range(60)]
    await bench.detection.engine.storage.save([], every)
    found = await bench.documents(key_id="key_3", state="open", level="page")
    assert {document["id"] for document in found} == {
        one.id for one in every if (one.key_id, one.state, one.level) == ("key_3", "open", "page")
    }
    with pytest.raises(ValueError, match="cursor"):
        await bench.documents(cursor="nonsense")


async def test_a_search_that_finds_little_goes_on_where_it_stopped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "MOST_READ", 10)
    every = [_anomaly(index) for index in range(60)]
    every[0].state = "acknowledged"
    await bench.detection.engine.storage.save([], every)
    cursor, pages, found = "", 0, []
    while pages == 0 or cursor:
        page = await bench.detection.queries.anomalies(key_id=None, state="acknowledged", level=None, limit=5, cursor=cursor)
        found += [document["id"] for document in page.documents]
        pages, cursor = pages + 1, page.next_cursor
    assert found == [every[0].id] and 1 < pages < 60


async def test_an_acknowledged_episode_is_over_and_the_network_is_known(bench: Bench, receiver: Receiver) -> None:
    await bench.create("notify")
    await bench.theft()
    (document,) = await bench.documents()
    after = await bench.detection.queries.acknowledge(document["id"], "new office", "adm_1")
    assert (after["state"], after["acknowledged_by"], after["reason"]) == ("acknowledged", "adm_1", "new office")
    bench.start()
    await bench.theft()
    await bench.deliver()
    assert len(receiver.bodies) == 1
    assert [one["state"] for one in await bench.documents()] == ["acknowledged"]


async def _over(bench: Bench) -> dict[str, Any]:
    """A theft that ended by itself, and its anomaly; the key is at rest."""
    await bench.create("notify")
    await bench.theft()
    for hours in (40, 2):
        bench.keys.clock.now += hours * HOUR
        await bench.detection.engine.tick(bench.keys.clock.now)
    (document,) = await bench.documents()
    assert document["state"] == "closed" and bench.key.id not in bench.detection.engine.observer.watches
    return document


async def _memory(bench: Bench) -> Memory:
    """What is remembered of the key after a restart."""
    await bench.detection.engine.finish()
    (memory,) = await bench.start().engine.storage.memories([bench.key.id])
    assert memory is not None
    return memory


async def test_what_is_acknowledged_when_it_is_over_is_remembered(bench: Bench) -> None:
    document = await _over(bench)
    for actor in ("adm_1", "adm_2"):
        await bench.detection.queries.acknowledge(document["id"], "ours", actor)
    memory = await _memory(bench)
    assert {name: known.count for name, known in memory.feedback.items()} == {one["signal"]: 1 for one in document["signals"]}
    assert not any(sighting.stranger for sighting in memory.agents.sightings.values())


async def test_what_is_acknowledged_when_it_is_over_leaves_the_open_one_of_the_same_key_alone(bench: Bench) -> None:
    document = await _over(bench)
    for _ in range(6):
        await bench.see(served(bench.now + 1, 4, client="192.0.2.1", agent="wget/1", key=bench.key.id))
    (before,) = await bench.documents(state="open")
    memory = bench.detection.engine.observer.watches[bench.key.id].memory
    raised = set(memory.raised)
    strangers = [number for number, sighting in memory.agents.sightings.items() if sighting.stranger]
    assert "new_network" in raised and len(strangers) == 2
    await bench.detection.queries.acknowledge(document["id"], "ours", "adm_1")
    assert set(memory.raised) == raised and await bench.documents(state="open") == [before]
    # The program of the first one is believed, that of the second is not.
    assert [number for number, sighting in memory.agents.sightings.items() if sighting.stranger] == strangers[1:]


async def test_what_is_over_can_still_be_acknowledged_and_what_never_was_cannot(bench: Bench) -> None:
    await bench.detection.engine.storage.save([], [_anomaly(1)])
    after = await bench.detection.queries.acknowledge("anm_0001", "seen", "adm_1")
    assert after["state"] == "acknowledged"
    bench.keys.clock.now += 1
    assert await bench.detection.queries.acknowledge("anm_0001", "me too", "adm_2") == after
    with pytest.raises(LookupError):
        await bench.detection.queries.acknowledge("anm_none", "", "adm_1")


async def test_a_muted_signal_is_not_raised_again_until_then(bench: Bench) -> None:
    await bench.create("notify")
    await bench.see(served(bench.now + 1, client=AWAY, key=bench.key.id))
    (document,) = await bench.documents()
    muted = await bench.detection.queries.mute(document["id"], bench.now + 1000.0)
    assert muted["muted_until"] is not None
    assert list(bench.detection.engine.active()) == []
    bench.start()
    await bench.see(served(bench.now + 1, client="192.0.2.1", key=bench.key.id))
    assert list(bench.detection.engine.active()) == []
    bench.keys.clock.now += 1000
    await bench.see(served(bench.now + 1, client="192.0.3.1", key=bench.key.id))
    assert list(bench.detection.engine.active()) == [(bench.key.id, "new_network")]


async def test_the_end_of_a_mute_takes_nothing_down_that_came_up_beside_it(bench: Bench) -> None:
    await bench.create("notify")
    await bench.see(served(bench.now + 1, 4, agent="wget/1", key=bench.key.id))
    (document,) = await bench.documents()
    await bench.detection.queries.mute(document["id"], bench.now + float(DAY))
    await bench.theft()
    up = {signal for _, signal in bench.detection.engine.active()}
    assert "new_network" in up and "agent_change" not in up
    bench.keys.clock.now += 0.5
    await bench.detection.queries.mute(document["id"], bench.keys.clock.now)
    assert {signal for _, signal in bench.detection.engine.active()} == up
    await bench.theft()
    assert [one["level"] for one in await bench.documents()] == ["page"]


async def test_a_network_can_be_acknowledged_and_muted_too(bench: Bench) -> None:
    await bench.create(None)
    guesses = [refused(bench.now + step, "invalid_api_key", 10, client=AWAY, key="") for step in range(1, 100, 11)]
    await bench.see(*guesses)
    (document,) = await bench.documents()
    assert (document["subject"], document["source"], document["level"]) == ("source", "203.0.113.0/24", "warn")
    after = await bench.detection.queries.acknowledge(document["id"], "a scanner", "adm_1")
    assert after["state"] == "acknowledged"
    await bench.see(*(refused(bench.now + step, "invalid_api_key", 10, client=AWAY, key="") for step in range(1, 100, 11)))
    (again, _) = await bench.documents()
    await bench.detection.queries.mute(again["id"], bench.now + 5000.0)
    await bench.see(*(refused(bench.now + step, "invalid_api_key", 10, client=AWAY, key="") for step in range(1, 100, 11)))
    assert bench.detection.engine.observer.episodes.open["203.0.113.0/24"].active == []


async def test_an_anomaly_that_is_over_is_muted_for_a_key_that_is_at_rest(bench: Bench) -> None:
    await bench.create("notify")
    await bench.theft()
    bench.keys.clock.now += 40 * HOUR
    await bench.detection.engine.tick(bench.keys.clock.now)
    bench.keys.clock.now += 2 * HOUR
    await bench.detection.engine.tick(bench.keys.clock.now)
    (document,) = await bench.documents()
    assert document["state"] == "closed" and bench.key.id not in bench.detection.engine.observer.watches
    await bench.detection.queries.mute(document["id"], bench.now + 30 * DAY)
    bench.keys.clock.now += 31
    await bench.detection.engine.tick(bench.keys.clock.now)
    bench.start()
    for _ in range(6):
        await bench.see(served(bench.now + 1, 4, client="192.0.2.9", agent="wget/1", key=bench.key.id))
    assert {signal for _, signal in bench.detection.engine.active()} <= {"new_network_spike"}
