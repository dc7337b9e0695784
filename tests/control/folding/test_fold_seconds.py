"""Counters over a restart: what a control process exports is never below what the one before it has exported."""

from __future__ import annotations

import random
import time
from pathlib import Path

import msgspec
from prometheus_client.parser import text_string_to_metric_families as parse_text

from sidecar.control.folding.loop import FoldLoop
from sidecar.control.metrics.scrape import Gauges, Scrape
from sidecar.control.networks import Networks
from sidecar.control.workers import Workers
from sidecar.events.record import Request
from sidecar.events.spool import SpoolWriter
from sidecar.store import names
from sidecar.store.client import Store
from sidecar.store.names import SHARDS
from tests.control.support.away import partly_away
from tests.control.support.events import key_id, request
from tests.control.support.folding import Folding, write, writer

KEYS = [key_id(number) for number in range(8)]
LABELLED = 3
"""The other keys add up under one name, from several shards."""
SUMS = {
    "sidecar_key_request_duration_seconds_sum",
    "sidecar_http_request_duration_seconds_sum",
    "sidecar_overhead_seconds_sum",
    "sidecar_upstream_time_to_first_byte_seconds_sum",
    "sidecar_gen_ai_tokens_sum",
}
Counters = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def counters(folding: Folding) -> Counters:
    """The counters of events on the page of `folding`."""
    scrape = Scrape(
        counts=folding.counts,
        keys=folding.keys,
        workers=Workers(time.time, since=0.0),
        networks=Networks(),
        gauges=Gauges(),
        key_info=False,
        restored=lambda: True,
    )
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_text(scrape.render(time.time(), openmetrics=False).decode())
        if family.name.startswith("sidecar_") and family.type in ("counter", "histogram", "summary")
        for sample in family.samples
    }


def measured(key: str, chance: random.Random) -> Request:
    """A request that took what clocks say, to the nanosecond."""
    total = chance.uniform(0.02, 40)
    auth, hub, first = chance.uniform(0, 0.001), total - chance.uniform(0.002, 0.01), total * chance.random()
    return request(key, total=total, auth=auth, hub_time=hub, first_byte=first, streaming=chance.random() < 0.3)


def folding_of(directory: Path, store: Store) -> Folding:
    return Folding(directory / "spool", store, max_keys=LABELLED)


async def outage(folding: Folding, spool: SpoolWriter, store: Store, chance: random.Random) -> None:
    """Fold requests of all keys, turn by turn, in some of which the store is away."""
    away, loop = partly_away(store), FoldLoop(folding.fold)
    for turn in range(30):
        away.shards = set(range(SHARDS)) if 10 <= turn < 20 else set()
        write(spool, *(measured(key, chance) for key in KEYS for _ in range(5)))
        await loop.turn()
    assert await loop.finish(30.0)


def lower(before: Counters, after: Counters) -> Counters:
    """What a scraper would take for a counter that has begun anew."""
    return {place: after.get(place, 0.0) - value for place, value in before.items() if after.get(place, 0.0) < value}


async def test_no_counter_falls_with_a_restart_after_an_outage_of_the_store(tmp_path: Path, store: Store) -> None:
    spool, chance = writer(tmp_path / "spool"), random.Random(7)
    scraped: Counters = {}
    for _ in range(3):
        folding = folding_of(tmp_path, store)
        await folding.fold.restore()
        assert not lower(scraped, counters(folding))
        await outage(folding, spool, store, chance)
        scraped = counters(folding)
    assert {name for name, _ in scraped if name.endswith("_sum")} >= SUMS
    assert any(labels == (("key_id", "_overflow"),) for _, labels in scraped)
    last = folding_of(tmp_path, store)
    await last.fold.restore()
    assert counters(last) == scraped, "nor does it jump"


async def left_by_an_earlier_build(store: Store, chance: random.Random) -> dict[str, float]:
    """Put totals into the store as they come out of adding floats as they are; returns the seconds by key label."""
    stored: dict[tuple[int, str], list[float]] = {}
    for number, key in enumerate(KEYS):
        label = key if number < LABELLED else "_overflow"
        seconds, _ = stored.get((names.shard_of(key), label), (0.0, 0))
        stored[names.shard_of(key), label] = [seconds + chance.uniform(0, 500), 5]
    for (shard, label), sums in stored.items():
        await store.call("HSET", names.totals(shard, "i1"), f"k:{label}", msgspec.msgpack.encode({"d": sums}))
    return {label: sum(sums[0] for (_, name), sums in stored.items() if name == label) for _, label in stored}


async def test_sums_of_an_earlier_build_go_on(tmp_path: Path, store: Store) -> None:
    spool, chance = writer(tmp_path / "spool"), random.Random(8)
    left = await left_by_an_earlier_build(store, chance)
    folding = folding_of(tmp_path, store)
    await folding.fold.restore()
    begun = counters(folding)
    for label, seconds in left.items():
        assert seconds - 1e-9 <= begun["sidecar_key_request_duration_seconds_sum", (("key_id", label),)] < seconds + 5e-6
    for _ in range(3):
        await outage(folding, spool, store, chance)
        scraped = counters(folding)
        folding = folding_of(tmp_path, store)
        await folding.fold.restore()
        assert counters(folding) == scraped
