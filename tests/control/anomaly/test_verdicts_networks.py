"""What people say to the anomaly of a network, which has no key to be remembered with."""

from __future__ import annotations

import pytest

from sidecar.control.anomaly.detectors.signals import DAY, HOUR
from sidecar.control.anomaly.document import time
from sidecar.control.anomaly.observer import Observer
from sidecar.control.anomaly.record import Anomaly
from tests.control.anomaly.conftest import Bench
from tests.control.anomaly.life import AWAY, refused
from tests.control.anomaly.test_verdicts import _later, _muted

NETWORK = "203.0.113.0/24"


async def _guess(bench: Bench, client: str = AWAY) -> None:
    await bench.see(*(refused(bench.now + step, "invalid_api_key", 10, client=client, key="") for step in range(1, 100, 11)))


@pytest.mark.parametrize("restarts", ["before", "before and after"])
async def test_a_network_is_muted_by_its_anomaly_that_is_over_after_a_restart_too(bench: Bench, restarts: str) -> None:
    await bench.create(None)
    await _guess(bench)
    await _later(bench, 9 * HOUR, step=600)
    assert [one["state"] for one in await bench.documents()] == ["closed"]
    await bench.detection.engine.finish()
    bench.start()
    await bench.detection.engine.tick(bench.now)
    (over,) = await bench.documents()
    until = bench.now + 30 * DAY
    assert (await bench.detection.queries.mute(over["id"], until))["muted_until"] == time(until)
    if "after" in restarts:
        bench.start()
    await _guess(bench)
    await _guess(bench)
    assert [one["id"] for one in await bench.documents()] == [over["id"]]
    await bench.detection.queries.mute(over["id"], bench.now)
    await _guess(bench)
    assert [one["source"] for one in await bench.documents(state="open")] == [NETWORK]


async def test_the_end_of_a_mute_that_is_over_takes_no_signal_of_a_network_down(bench: Bench) -> None:
    await bench.create(None)
    await _guess(bench)
    (document,) = await bench.documents()
    await bench.detection.queries.mute(document["id"], bench.now + 60.0)
    await _later(bench, 61)
    await _guess(bench)
    await bench.detection.queries.mute(document["id"], bench.now)
    await _later(bench, 20)
    assert bench.detection.engine.observer.episodes.open[NETWORK].active == ["key_guessing"]


async def test_all_networks_together_are_muted_after_a_restart_too(bench: Bench) -> None:
    await bench.create(None)
    everywhere = Anomaly(
        id="anm_all", subject="source", key_id="", key_name="", source="all networks together", level="warn", score=3,
        started_at=bench.now - 2.0 * DAY, updated_at=bench.now - 2.0 * DAY, state="closed", instance="all",
    )  # fmt: skip
    await bench.detection.engine.storage.save([], [everywhere])
    await bench.detection.queries.mute("anm_all", bench.now + DAY)
    await bench.see(*(refused(bench.now + step, "invalid_api_key", 15, client=f"192.0.{step}.1", key="") for step in range(1, 100)))
    assert "all networks together" not in bench.detection.engine.observer.episodes.open


async def test_who_does_not_detect_mutes_no_network_for_when_it_will(bench: Bench) -> None:
    await bench.create(None)
    await _guess(bench)
    (document,) = await bench.documents()
    other = bench.start("other")
    await other.engine.tick(bench.now)
    await other.queries.mute(document["id"], bench.now + DAY)
    assert _sources(other.engine.observer) == {}


async def test_an_acknowledged_network_that_is_muted_stays_muted(bench: Bench) -> None:
    await bench.create(None)
    await _guess(bench)
    (document,) = await bench.documents()
    await bench.detection.queries.mute(document["id"], bench.now + DAY)
    await bench.detection.queries.acknowledge(document["id"], "known", "adm_1")
    await _guess(bench)
    assert [one["state"] for one in await bench.documents()] == ["acknowledged"]


def _sources(observer: Observer) -> dict[str, int]:
    return {source.name: source.muted_until for source in observer.sources.by_number.values()}


async def test_what_is_over_is_muted_by_who_detects_whoever_takes_the_call(bench: Bench) -> None:
    await bench.create("notify")
    await _guess(bench)
    await bench.theft()
    await _later(bench, 40 * HOUR, step=600)
    first, key_over, network_over = bench.detection, *(await bench.documents())
    assert {one["state"] for one in (key_over, network_over)} == {"closed"}
    other = bench.start("other")
    await other.engine.tick(bench.now)
    bench.detection = first
    until = bench.now + 30 * DAY
    for one in (key_over, network_over):
        await other.queries.mute(one["id"], until)
    await _later(bench, 1)
    assert {_muted(bench)[signal["signal"]] for signal in key_over["signals"]} == {until}
    assert _sources(first.engine.observer)[NETWORK] == until
    bench.start()
    await _guess(bench)
    await bench.theft(1)
    assert {one["muted_until"] for one in await bench.documents()} == {time(until)}, "what it knows is safe at once, and nothing is new"
    await other.queries.mute(key_over["id"], bench.now)
    await _later(bench, 1)
    assert max(_muted(bench)[signal["signal"]] for signal in key_over["signals"]) < bench.now
