"""What people say to an anomaly counts wherever it is said, in whatever order, and after every change of who detects."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.control.anomaly.compose import Detection
from sidecar.control.anomaly.detectors.second import NO_KEY
from sidecar.control.anomaly.detectors.signals import DAY, HOUR
from sidecar.control.anomaly.document import time
from sidecar.store import names
from sidecar.store.client import StoreUnavailable
from tests.control.anomaly.conftest import Bench
from tests.control.anomaly.life import AWAY, refused, served


async def _told_and_joined(bench: Bench) -> tuple[Detection, Detection, dict[str, Any]]:
    """Who has told of a theft and detects, who has joined and does not, and the anomaly."""
    await bench.create("notify")
    await bench.theft()
    first = bench.detection
    (document,) = await bench.documents()
    other = bench.start("other")
    await other.engine.tick(bench.now)
    bench.detection = first
    return first, other, document


async def _goes_on(bench: Bench) -> None:
    """Seconds later the key is used from many more networks: the episode is saved again."""
    for number in range(6):
        await bench.see(served(bench.now - 9, 4, client=f"192.0.{number}.1", agent="wget/1", key=bench.key.id))
    assert "network_fanout" in bench.detection.engine.observer.episodes.open[bench.key.id].active


async def _later(bench: Bench, seconds: int, *, step: int = 0) -> None:
    """Time passes, with a look now and then."""
    end = bench.now + seconds
    while bench.now < end:
        bench.keys.clock.now = min(bench.now + (step or seconds), end)
        await bench.detection.engine.tick(bench.keys.clock.now)


async def _word_is_lost(bench: Bench) -> None:
    """Whoever detects has died, or the store has dropped what waited for it."""
    assert await bench.store.call("DEL", names.ANOMALY_INBOX) == 1


async def _one(bench: Bench) -> dict[str, Any]:
    (document,) = await bench.documents()
    return document


def _muted(bench: Bench) -> dict[str, int]:
    return bench.detection.engine.observer.watches[bench.key.id].memory.muted


def _active(document: dict[str, Any]) -> set[str]:
    return {signal["signal"] for signal in document["signals"] if signal["active"]}


async def test_a_mute_given_to_another_instance_is_not_overwritten_by_what_happens_next(bench: Bench) -> None:
    _, other, document = await _told_and_joined(bench)
    until = bench.now + DAY
    await other.queries.mute(document["id"], until)
    await _word_is_lost(bench)
    await _goes_on(bench)
    assert (await _one(bench))["muted_until"] == time(until)
    await _later(bench, 31)
    after = await _one(bench)
    assert (after["muted_until"], _active(after)) == (time(until), set())
    assert set(_muted(bench).values()) == {until}


async def test_a_mute_that_was_ended_at_another_instance_stays_ended(bench: Bench) -> None:
    first, other, document = await _told_and_joined(bench)
    await first.queries.mute(document["id"], bench.now + DAY)
    ended = bench.now
    await other.queries.mute(document["id"], ended)
    await _word_is_lost(bench)
    await _goes_on(bench)
    assert (await _one(bench))["muted_until"] == time(ended)
    await _later(bench, 31)
    assert (await _one(bench))["muted_until"] == time(ended)
    assert max(_muted(bench).values()) == ended


async def test_of_two_mutes_the_later_one_counts_whoever_took_it(bench: Bench) -> None:
    first, other, document = await _told_and_joined(bench)
    for number, detection in enumerate((other, first, other, other, first, first), 1):
        until = bench.now + DAY // number
        await detection.queries.mute(document["id"], until)
        assert (await _one(bench))["muted_until"] == time(until)
    await _goes_on(bench)
    await _later(bench, 31)
    assert (await _one(bench))["muted_until"] == time(until)
    assert {_muted(bench)[signal["signal"]] for signal in document["signals"]} == {until}


async def test_a_mute_that_could_not_be_saved_at_once_is_not_taken_back_by_an_older_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _, document = await _told_and_joined(bench)
    await first.queries.mute(document["id"], bench.now + HOUR)
    until = bench.now + DAY
    with monkeypatch.context() as patched:
        patched.setattr(first.engine.storage, "save", _away)
        with pytest.raises(StoreUnavailable):
            await first.queries.mute(document["id"], until)
    await first.engine._save(bench.keys.clock.now)
    assert (await _one(bench))["muted_until"] == time(until)
    assert set(_muted(bench).values()) == {until}


async def test_what_another_instance_acknowledged_is_not_acknowledged_again(bench: Bench) -> None:
    first, other, document = await _told_and_joined(bench)
    await other.queries.acknowledge(document["id"], "a deployment", "adm_1")
    bench.keys.clock.now += 1
    after = await first.queries.acknowledge(document["id"], "me too", "adm_2")
    assert (after["reason"], after["acknowledged_by"]) == ("a deployment", "adm_1")
    await _later(bench, 31)
    after = await _one(bench)
    assert (after["reason"], after["acknowledged_by"], _active(after)) == ("a deployment", "adm_1", set())


async def test_a_mute_that_nobody_took_over_before_a_crash_is_applied_by_the_next_one(bench: Bench) -> None:
    _, other, document = await _told_and_joined(bench)
    until = bench.now + DAY
    await other.queries.mute(document["id"], until)
    await _word_is_lost(bench)
    await bench.store.call("DEL", names.ANOMALY_SEAT)
    bench.detection = other
    await bench.theft(3)
    after = await _one(bench)
    assert (after["state"], after["muted_until"]) == ("open", time(until))
    assert not _active(after) & _active(document)
    assert {_muted(bench)[signal["signal"]] for signal in document["signals"]} == {until}


async def test_a_restart_does_not_mute_what_came_up_after_the_mute(bench: Bench) -> None:
    await bench.create("notify")
    await bench.see(served(bench.now + 1, client=AWAY, key=bench.key.id))
    (document,) = await bench.documents()
    await bench.detection.queries.mute(document["id"], bench.now + DAY)
    await bench.theft()
    up = _active(await _one(bench))
    assert up and up.isdisjoint(_active(document))
    bench.start()
    await bench.detection.engine.tick(bench.now)
    assert _active(await _one(bench)) == up


async def _away(*_: Any, **__: Any) -> None:
    raise StoreUnavailable("away")


@pytest.mark.parametrize("verdict", ["mute", "acknowledge"])
async def test_a_verdict_that_could_not_be_saved_opens_nothing_again_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, verdict: str
) -> None:
    first, other, document = await _told_and_joined(bench)
    said = ("", "adm_1") if verdict == "acknowledge" else (bench.now + HOUR,)
    with monkeypatch.context() as patched:
        patched.setattr(other.engine.storage, "save", _away)
        with pytest.raises(StoreUnavailable):
            await getattr(other.queries, verdict)(document["id"], *said)
    await _later(bench, 40 * HOUR, step=HOUR)
    over = await _one(bench)
    assert over["state"] == "closed"
    await first.engine.finish()
    await bench.store.call("DEL", names.ANOMALY_SEAT)
    bench.detection = other
    await _later(bench, HOUR, step=60)
    assert await _one(bench) == over


async def test_what_a_restore_that_failed_half_way_knew_is_forgotten_when_another_one_leads(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other, document = await _told_and_joined(bench)
    await bench.store.call("DEL", names.ANOMALY_SEAT)
    with monkeypatch.context() as patched:
        patched.setattr(other.engine.storage, "memories", _away)
        with pytest.raises(StoreUnavailable):
            await other.engine.tick(bench.now)
    await bench.store.call("DEL", names.ANOMALY_SEAT)
    await first.engine.tick(bench.now)
    await other.engine.tick(bench.now)
    until = bench.now + DAY
    await other.queries.mute(document["id"], until)
    await _word_is_lost(bench)
    await _goes_on(bench)
    await _later(bench, 31)
    assert not other.engine.observer.episodes.open
    assert (await _one(bench))["muted_until"] == time(until)


async def test_muting_what_is_over_quietens_the_open_one_of_the_same_key(bench: Bench) -> None:
    await bench.create("notify")
    await bench.theft()
    (first,) = await bench.documents()
    await bench.detection.queries.acknowledge(first["id"], "known", "adm_1")
    for number in range(20):
        await bench.see(served(bench.now + 1, 4, client=f"192.0.{number}.9", agent="wget/1", key=bench.key.id))
    (second,) = await bench.documents(state="open")
    both = _active(first) & _active(second)
    assert both
    await bench.detection.queries.mute(first["id"], bench.now + DAY)
    await _later(bench, 1)
    (after,) = await bench.documents(state="open")
    assert (after["id"], _active(after)) == (second["id"], _active(second) - both)
    assert {signal for _, signal in bench.detection.engine.active()} == _active(after)


async def _over_and_joined(bench: Bench) -> tuple[Detection, dict[str, Any]]:
    """Who has joined and does not detect, and an anomaly that ended by itself."""
    _, other, _ = await _told_and_joined(bench)
    for hours in (40, 2):
        await _later(bench, hours * HOUR)
    document = await _one(bench)
    assert document["state"] == "closed" and bench.key.id not in bench.detection.engine.observer.watches
    return other, document


async def test_what_is_over_is_acknowledged_at_another_instance_and_remembered_once(bench: Bench) -> None:
    other, document = await _over_and_joined(bench)
    await other.queries.acknowledge(document["id"], "ours", "adm_1")
    await _later(bench, 1)
    # Word of it comes again with everything that is said of it.
    await other.queries.mute(document["id"], bench.now + HOUR)
    await _later(bench, 1)
    (memory,) = await bench.detection.engine.storage.memories([bench.key.id])
    assert memory is not None and memory.muted
    assert {name: known.count for name, known in memory.feedback.items()} == {one["signal"]: 1 for one in document["signals"]}
    after = await _one(bench)
    assert (after["state"], after["reason"], after["ended_at"]) == ("acknowledged", "ours", document["ended_at"])


async def test_a_mute_of_the_past_takes_nothing_down_when_the_anomaly_is_acknowledged_elsewhere(bench: Bench) -> None:
    other, document = await _over_and_joined(bench)
    await other.queries.mute(document["id"], bench.now + HOUR)
    await _later(bench, 2 * HOUR, step=HOUR)
    for number in range(6):
        await bench.see(served(bench.now + 1, 4, client=f"192.0.{number}.1", agent="wget/1", key=bench.key.id))
    up = set(bench.detection.engine.active())
    assert up
    await other.queries.acknowledge(document["id"], "ours", "adm_1")
    await _later(bench, 1)
    assert set(bench.detection.engine.active()) == up


@pytest.mark.parametrize("source", [False, True])
async def test_a_mute_of_what_is_over_that_was_ended_elsewhere_is_ended(bench: Bench, source: bool) -> None:
    if source:
        other = await _guessed_and_joined(bench)
    else:
        other, _ = await _over_and_joined(bench)
    document = await _one(bench)
    await other.queries.mute(document["id"], bench.now + DAY)
    await _later(bench, 1)
    await other.queries.mute(document["id"], bench.now)
    await _later(bench, 1)
    observer = bench.detection.engine.observer
    mutes = [one.muted_until for one in observer.sources.by_number.values()] if source else _muted(bench).values()
    assert max(mutes) < bench.now


async def _guessed_and_joined(bench: Bench) -> Detection:
    """Who has joined and does not detect, and a network's anomaly that ended by itself."""
    await bench.create("notify")
    await bench.see(refused(bench.now + 1, "invalid_api_key", 30, client=AWAY, key=NO_KEY))
    first, other = bench.detection, bench.start("other")
    bench.detection = first
    await _later(bench, 9 * HOUR, step=HOUR)
    assert (await _one(bench))["state"] == "closed"
    return other


async def test_a_mute_given_to_another_instance_counts_at_once(bench: Bench) -> None:
    _, other, document = await _told_and_joined(bench)
    await other.queries.mute(document["id"], bench.now + DAY)
    await _later(bench, 1)
    assert not _active(await _one(bench))
