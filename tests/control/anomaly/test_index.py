from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.control.anomaly import index as module
from sidecar.control.anomaly import storage as storages
from sidecar.control.anomaly.detectors.memory import Memory
from sidecar.control.anomaly.index import FOR_EVER, AnomalyIndex, entry_of
from sidecar.control.anomaly.record import Anomaly
from sidecar.control.anomaly.storage import Storage
from sidecar.store import names
from sidecar.store.client import Store

KEYS = tuple(f"key_{number}" for number in range(5))


def anomaly(number: int, key_id: str = KEYS[0], *, start: float = 1000.0, state: str = "open", source: str = "") -> Anomaly:
    return Anomaly(
        id=f"anm_{number:04d}", subject="source" if source else "key", key_id="" if source else key_id, key_name="", source=source,
        level="warn", score=3, started_at=start, updated_at=start, state=state, instance="x",  # type: ignore[arg-type]
    )  # fmt: skip


async def listed(index: AnomalyIndex, count: int = 7, *, key_id: str | None = None, only_open: bool = False) -> list[str]:
    """The ids of all pages."""
    found: list[str] = []
    after, more = (FOR_EVER, ""), True
    while more:
        places, more = await index.places(after, count, key_id=key_id, only_open=only_open)
        assert len(places) <= count
        found += [one.id for one in await index.records(places)]
        after = (places[-1].start, places[-1].id) if places else after
    return found


def ordered(every: list[Anomaly]) -> list[str]:
    return [one.id for one in sorted(every, key=lambda one: (-one.started_at, one.id))]


# Few starts, many anomalies: more of one moment in one shard than a page has.
STARTS = st.sampled_from([0.25, 1.0, 1.5, 2.0])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=st.lists(st.tuples(STARTS, st.sampled_from(KEYS), st.sampled_from(["open", "closed", "acknowledged"])), max_size=60))
async def test_every_list_is_complete_and_in_order(store: Store, made: list[tuple[float, str, str]]) -> None:
    await store.call("FLUSHALL")
    storage = Storage(store, "x")
    every = [anomaly(number, key_id, start=start, state=state) for number, (start, key_id, state) in enumerate(made)]
    await storage.save([], every)
    assert await listed(storage.index) == ordered(every)
    assert await listed(storage.index, only_open=True) == ordered([one for one in every if one.state == "open"])
    for key_id in KEYS:
        assert await listed(storage.index, key_id=key_id) == ordered([one for one in every if one.key_id == key_id])


async def test_the_open_anomaly_of_a_key_is_among_its_latest(store: Store) -> None:
    storage = Storage(store, "x")
    closed = [anomaly(number, key_id, start=number, state="closed") for number, key_id in enumerate(KEYS * 4)]
    opened = [anomaly(90 + number, key_id, start=90.0 + number) for number, key_id in enumerate(KEYS[:3])]
    await storage.save([], [*closed, *opened])
    found = await storage.index.latest_of([*KEYS, "key_unknown"])
    assert {one.id for one in found if one.state == "open"} == {one.id for one in opened}
    assert len(found) == 3 * len(KEYS)


async def test_what_is_over_leaves_the_open_ones(store: Store) -> None:
    storage = Storage(store, "x")
    one = anomaly(1)
    await storage.save([], [one])
    one.state = "closed"
    await storage.save([], [one])
    assert await listed(storage.index, only_open=True) == []
    assert await listed(storage.index, key_id=one.key_id) == [one.id]


async def test_a_network_has_its_own_entries(store: Store) -> None:
    storage = Storage(store, "x")
    await storage.save([], [anomaly(1, source="203.0.113.0/24"), anomaly(2)])
    assert sorted(await listed(storage.index)) == ["anm_0001", "anm_0002"]
    assert await listed(storage.index, key_id=KEYS[0]) == ["anm_0002"]


@pytest.mark.parametrize("lost", ["everything", "some", "left over"])
async def test_sets_that_an_older_version_did_not_write_are_mended(store: Store, lost: str) -> None:
    storage = Storage(store, "x")
    every = [
        anomaly(number, random.Random(number).choice(KEYS), start=number, state=("open", "closed")[number % 2]) for number in range(40)
    ]
    await storage.save([], every)
    for shard in range(names.SHARDS):
        if lost == "everything":
            await store.pipeline([("DEL", names.anomaly_subjects(shard)), ("DEL", names.anomaly_open(shard))])
        elif lost == "some":
            await store.pipeline([("ZPOPMIN", names.anomaly_subjects(shard)), ("ZPOPMIN", names.anomaly_open(shard))])
        else:
            left = [("ZADD", names.anomaly_subjects(shard), 0, entry_of(anomaly(99))), ("ZADD", names.anomaly_open(shard), 5, "anm_0099")]
            await store.pipeline(left)
    assert await listed(storage.index, only_open=True) == ordered([one for one in every if one.state == "open"])
    for key_id in KEYS:
        assert await listed(storage.index, key_id=key_id) == ordered([one for one in every if one.key_id == key_id])
    for shard in {names.shard_of(key_id) for key_id in KEYS}:
        opened = {one.id.encode() for one in every if one.state == "open" and names.shard_of(one.key_id) == shard}
        assert {*await store.call("ZRANGE", names.anomaly_open(shard), 0, -1)} == opened
    found = {one.id for one in await storage.index.latest_of(list(KEYS))}
    assert found == {id_ for key_id in KEYS for id_ in ordered([one for one in every if one.key_id == key_id])[: module.LATEST_OF_KEY]}


async def test_a_record_that_cannot_be_read_is_passed_over(store: Store) -> None:
    storage = Storage(store, "x")
    await storage.save([], [anomaly(1), anomaly(2)])
    await store.call("HSET", names.anomalies(names.shard_of(KEYS[0])), "anm_0001", b"{")
    await store.call("HSET", names.anomalies(names.shard_of(KEYS[0])), "anm_0003", b"{")
    assert await listed(storage.index, key_id=KEYS[0]) == ["anm_0002"]
    # Mended once, the counts agree.
    shard = names.shard_of(KEYS[0])
    assert await store.call("HLEN", names.anomalies(shard)) == await store.call("ZCARD", names.anomaly_subjects(shard))


async def test_the_oldest_beyond_the_bound_leave_every_set(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storages, "RECORDS_KEPT", 5)
    storage = Storage(store, "x")
    for number in range(12):
        await storage.save([], [anomaly(number, start=1.5 + number, state="closed")])
    assert await _counts(store) == [5, 5, 0, 5]
    assert await listed(storage.index, key_id=KEYS[0]) == [f"anm_{number:04d}" for number in (11, 10, 9, 8, 7)]


async def test_what_is_open_is_not_pushed_out_by_what_came_later(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers make as many anomalies of their networks as they like, in a shard of their choice."""
    monkeypatch.setattr(storages, "RECORDS_KEPT", 5)
    storage, shard = Storage(store, "x"), names.shard_of(KEYS[0])
    sources = [name for name in (f"2001:db8:{number:x}::/48" for number in range(2000)) if names.shard_of(name) == shard][:40]
    page = anomaly(0)
    await storage.save([], [page])
    for number, source in enumerate(sources, 1):
        await storage.save([], [anomaly(number, start=1000.0 + number, source=source)])
        assert len((await storage.open_anomalies())[0]) == 2, "a page, and the one that is to be closed"
        await storage.save([], [anomaly(number, start=1000.0 + number, source=source, state="closed")])
    assert await listed(storage.index, only_open=True) == [page.id]
    assert await listed(storage.index) == [f"anm_{number:04d}" for number in (40, 39, 38, 37, 36, 0)]
    assert [one.id for one in (await Storage(store, "x").open_anomalies())[0]] == [page.id]
    assert await _counts(store) == [6, 6, 1, 6]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(states=st.lists(st.sampled_from(["open", "closed", "acknowledged"]), max_size=40), kept=st.integers(0, 12), known=st.booleans())
async def test_the_latest_of_what_is_over_and_all_that_is_open_are_kept(store: Store, states: list[str], kept: int, known: bool) -> None:
    await store.call("FLUSHALL")
    storage = Storage(store, "x")
    every = [anomaly(number, start=float(number), state=state) for number, state in enumerate(states)]
    await storage.save([], every)
    if not known:
        # As an older version left it.
        await store.call("DEL", names.anomaly_open(names.shard_of(KEYS[0])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storages, "RECORDS_KEPT", kept)
        await storage.save([(KEYS[0], Memory(1))])
    over = [one for one in every if one.state != "open"]
    left = {one.id for one in every if one.state == "open"} | {one.id for one in over[max(0, len(over) - kept) :]}
    found = {one.id for one in await storage.reread(every)}
    assert found == left if known else found >= {one.id for one in every if one.state == "open"}


async def test_one_save_walks_by_slices_past_hundreds_that_are_open(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, opened, over = Storage(store, "x"), 450, 300
    every = [anomaly(number, start=float(number), state="open" if number < opened else "closed") for number in range(opened + over)]
    monkeypatch.setattr(storages, "RECORDS_KEPT", 10)
    await storage.save([], every)
    assert await _counts(store) == [opened + 10, opened + 10, opened, opened + 10]


async def _counts(store: Store) -> list[int]:
    shard = names.shard_of(KEYS[0])
    sets = (names.anomaly_index, names.anomaly_open, names.anomaly_subjects)
    counts: list[int] = await store.pipeline([("HLEN", names.anomalies(shard)), *(("ZCARD", name(shard)) for name in sets)])
    return counts
