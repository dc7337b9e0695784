"""What /metrics knows of keys, on a real store whose changes are reported."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from sidecar.control.key_watch import USES_EVERY, KeyWatch
from sidecar.control.metrics.keys import IDLE, LabelledKeys
from sidecar.keys.record import Key
from sidecar.keys.use import Use
from sidecar.store.client import Store
from tests.support.keys import Keys, change, open_keys, shape
from tests.support.store import until


@pytest.fixture
async def keys(store: Store, tmp_path: Path) -> Keys:
    return await open_keys(store, tmp_path)


@pytest.fixture
def labelled() -> LabelledKeys:
    return LabelledKeys(2)


@pytest.fixture
async def watch(store: Store, keys: Keys, labelled: LabelledKeys) -> AsyncIterator[KeyWatch]:
    async def forget(gone: Sequence[str]) -> None:
        del gone

    watch = KeyWatch(store, keys.adoption, keys.repository, labelled, forget, keys.clock)
    task = asyncio.create_task(watch.run())
    await until(lambda: watch._tracking is not None and not watch._everything)
    yield watch
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


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
