"""What /metrics knows of keys, on a real store whose changes are reported."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from sidecar.control.metrics.key_watch import USES_EVERY, KeyWatch
from sidecar.control.metrics.keys import IDLE, REVOKED_GRACE, LabelledKeys
from sidecar.keys.record import Key
from sidecar.keys.use import Use
from sidecar.store import names
from sidecar.store.client import Store
from tests.support.keys import Keys, change, open_keys, shape
from tests.support.store import until

PATIENT = 5.0
"""Seconds; `sync` itself gives up much sooner, and says nothing."""


@pytest.fixture
async def keys(store: Store, tmp_path: Path) -> Keys:
    return await open_keys(store, tmp_path)


@pytest.fixture
def labelled() -> LabelledKeys:
    return LabelledKeys(2)


@pytest.fixture
def gone() -> list[str]:
    """The keys whose counts were dropped."""
    return []


@contextlib.asynccontextmanager
async def _watching(keys: Keys, labelled: LabelledKeys, gone: list[str]) -> AsyncIterator[KeyWatch]:
    async def forget(over: Sequence[str]) -> None:
        gone.extend(over)

    watch = KeyWatch(keys.store, keys.adoption, keys.repository, labelled, forget, keys.clock)
    task = asyncio.create_task(watch.run())
    await until(lambda: watch._tracking is not None and watch._uses_at)
    try:
        yield watch
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def watch(keys: Keys, labelled: LabelledKeys, gone: list[str]) -> AsyncIterator[KeyWatch]:
    async with _watching(keys, labelled, gone) as watch:
        yield watch


async def _use(keys: Keys, key: Key) -> None:
    """What the ledger writes of a use a minute ago."""
    use = msgspec.msgpack.encode({key.secrets[0].id: [keys.clock.now - 60, 5, [], []]})
    await keys.store.call("HSET", names.use(names.shard_of(key.id)), key.id, use)


async def test_keys_revoked_long_ago_do_not_wait_for_a_place(keys: Keys, labelled: LabelledKeys, watch: KeyWatch) -> None:
    """Else the keys that nobody uses would have to make room for them."""
    ended = (await keys.repository.create(shape("ended"))).key
    await keys.repository.revoke(ended.id)
    await watch.sync()
    keys.clock.now += IDLE
    idle = (await keys.repository.create(shape("idle"))).key
    await watch.sync()
    keys.clock.now += IDLE
    for _ in range(2):
        await keys.repository.update(idle.id, change(tags=(str(keys.clock.now),)))
        await watch.sync()
        keys.clock.now += 60
    assert (list(labelled.records), labelled.overflowing) == ([idle.id], 0)
    for name in ("second", "third"):
        await keys.repository.create(shape(name))
    await watch.sync()
    keys.clock.now += 60
    await watch.sync()
    assert (len(labelled.records), labelled.overflowing) == (2, 1)


async def test_a_change_that_is_reported_while_its_key_is_read_is_read_too(
    keys: Keys, labelled: LabelledKeys, watch: KeyWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = (await keys.repository.create(shape("before"))).key
    await watch.sync()
    read = keys.repository.get_many

    async def slowly(key_ids: list[str]) -> list[Key | None]:
        found = await read(key_ids)
        monkeypatch.undo()
        await keys.repository.update(key.id, change(name="after"))
        assert watch._tracking is not None
        await watch._tracking.prove(1.0)
        return found

    monkeypatch.setattr(keys.repository, "get_many", slowly)
    await keys.repository.update(key.id, change(name="between"))
    await watch.sync()
    await watch.sync()
    record = labelled.records[key.id]
    assert record is not None
    assert record.name == "after"


async def test_a_clock_that_was_put_back_does_not_stop_the_reading_of_uses(
    keys: Keys, labelled: LabelledKeys, watch: KeyWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = (await keys.repository.create(shape())).key
    await watch.sync()
    keys.clock.now += USES_EVERY
    await watch.sync()
    keys.clock.now -= 86_400.0

    async def uses(key_ids: list[str]) -> dict[str, Use]:
        return {key_id: Use(last_used_at=keys.clock.now) for key_id in key_ids}

    monkeypatch.setattr(keys.repository, "uses", uses)
    await watch.sync()
    assert labelled.last_used[key.id] == keys.clock.now


async def test_a_use_that_was_told_by_a_clock_that_was_ahead_is_forgotten(keys: Keys, labelled: LabelledKeys, watch: KeyWatch) -> None:
    key = (await keys.repository.create(shape())).key
    await watch.sync()
    used_at = keys.clock.now - 60
    await _use(keys, key)
    for ahead, is_believed in ((86_400.0, True), (86_401.0, False)):
        keys.clock.now += USES_EVERY
        labelled.last_used[key.id] = told = keys.clock.now + ahead
        await watch.sync()
        assert labelled.last_used[key.id] == (told if is_believed else used_at)


async def test_a_restart_takes_no_place_from_a_revoked_key_that_is_still_tried(keys: Keys, gone: list[str]) -> None:
    stolen = (await keys.repository.create(shape("stolen"))).key
    await keys.repository.revoke(stolen.id)
    keys.clock.now += 3 * REVOKED_GRACE
    await _use(keys, stolen)
    labelled = LabelledKeys(2)
    # The fold has read its counts.
    labelled.label(stolen.id)
    async with _watching(keys, labelled, gone) as watch:
        await watch._sync(PATIENT)
        assert (list(labelled.records), gone) == ([stolen.id], [])


async def test_a_restart_takes_no_place_from_old_keys_that_are_in_use_while_another_waits(keys: Keys, gone: list[str]) -> None:
    old = [(await keys.repository.create(shape(f"old{number}"))).key for number in range(2)]
    keys.clock.now += 2 * IDLE
    new = (await keys.repository.create(shape("new"))).key
    for key in old:
        await _use(keys, key)
    labelled = LabelledKeys(2)
    for key in old:
        labelled.label(key.id)
    async with _watching(keys, labelled, gone) as watch:
        await watch._sync(PATIENT)
        assert (labelled.records.keys(), gone, labelled.overflowing) == ({key.id for key in old}, [], 1)
        assert new.id not in labelled.records


async def test_a_place_that_is_given_up_goes_to_a_key_that_waits(
    keys: Keys, labelled: LabelledKeys, watch: KeyWatch, gone: list[str]
) -> None:
    ended, waiting = [(await keys.repository.create(shape(name))).key for name in ("ended", "waiting")]
    await watch._sync(PATIENT)
    keys.clock.now += 10
    other = (await keys.repository.create(shape("other"))).key
    labelled.label(other.id)
    await keys.repository.revoke(ended.id)
    await watch._sync(PATIENT)
    assert (labelled.records.keys(), gone) == ({ended.id, waiting.id}, [])
    keys.clock.now += REVOKED_GRACE
    await watch._sync(PATIENT)
    assert gone == [ended.id]
    await watch._sync(PATIENT)
    assert (labelled.records.keys(), labelled.overflowing) == ({waiting.id, other.id}, 0)


@pytest.mark.parametrize("revoked", [0, 1])
async def test_idle_keys_do_not_take_turns(keys: Keys, labelled: LabelledKeys, gone: list[str], revoked: int) -> None:
    """Each turn would cost all counts of the keys that lose their place, and a reading of all keys."""
    idle = [(await keys.repository.create(shape(f"idle{number}"))).key for number in range(4 - revoked)]
    tried = [(await keys.repository.create(shape("tried"))).key for _ in range(revoked)]
    for key in tried:
        await keys.repository.revoke(key.id)
    keys.clock.now += 2 * IDLE
    for key in tried:
        await _use(keys, key)
    for key in [*tried, *idle][:2]:
        labelled.label(key.id)
    async with _watching(keys, labelled, gone) as watch:
        for _ in range(5):
            keys.clock.now += USES_EVERY
            await watch._sync(PATIENT)
        lost = set(gone)
        assert len(gone) == len(lost) <= 2 and not watch._everything
        assert set(labelled.records) == {key.id for key in tried}
        # Whoever is used again has a place.
        assert labelled.label(idle[-1].id) == idle[-1].id


async def test_a_new_replica_gives_places_to_old_keys_that_are_in_use(keys: Keys, labelled: LabelledKeys, gone: list[str]) -> None:
    old = [(await keys.repository.create(shape(f"old{number}"))).key for number in range(3)]
    keys.clock.now += 2 * IDLE
    await _use(keys, old[0])
    async with _watching(keys, labelled, gone) as watch:
        await watch._sync(PATIENT)
        assert old[0].id in labelled.records and gone == []
