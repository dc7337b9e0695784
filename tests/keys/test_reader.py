"""Reading keys of which one cannot be read, and keys that change while they are read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from sidecar.keys.digest import imported_digest
from sidecar.keys.listing import Query
from sidecar.keys.reader import Found, KeyReader
from sidecar.keys.rehash import Rehasher
from sidecar.store import names
from sidecar.store.client import Store, StoreUnavailable
from sidecar.store.link import Command
from tests.support.keys import OLDER_PEPPER, PEPPER, Keys, open_keys, shape

IMPORTED = b"sk-from-elsewhere"
MOST_COMMANDS = 6
"""Of a look-up: the store's identity with three digests, and again with a record."""


@pytest.fixture
async def keys(store: Store, tmp_path: Path) -> Keys:
    return await open_keys(store, tmp_path)


async def spoil(keys: Keys, key_id: str) -> None:
    """Write what a newer version might have written, or a hand."""
    record = msgspec.json.decode(await keys.store.call("HGET", names.key(key_id), "record"))
    await keys.store.call("HSET", names.key(key_id), "record", msgspec.json.encode(record | {"on_anomaly": "quarantine", "version": 2}))


async def test_a_record_that_cannot_be_read_takes_no_other_key_away(keys: Keys, caplog: pytest.LogCaptureFixture) -> None:
    made = [await keys.repository.create(shape(f"app {number}")) for number in range(3)]
    ids = [issued.key.id for issued in made]
    await spoil(keys, ids[1])
    assert [key and key.id for key in await keys.repository.get_many(ids)] == [ids[0], None, ids[2]]
    for query in (Query(), Query("app"), Query(order="name"), Query(order="oldest")):
        assert {key.id for key in (await keys.repository.list(query)).keys} == {ids[0], ids[2]}, query
    told = [record.getMessage() for record in caplog.records if ids[1] in record.getMessage()]
    assert len(told) == 1


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
async def test_very_many_keys_are_read_in_several_trips(keys: Keys, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    made = [(await keys.repository.create(shape(f"app {number}"))).key.id for number in range(3)]
    ids = [made[number % 3] if number % 2 == 0 else f"key_{number:016d}" for number in range(count)]
    trips: list[int] = []
    pipeline = keys.store.pipeline

    async def noted(commands: Sequence[Command]) -> list[Any]:
        trips.append(len(commands))
        return await pipeline(commands)

    monkeypatch.setattr(keys.store, "pipeline", noted)
    monkeypatch.setattr("sidecar.keys.reader.AT_A_TIME", 3)
    found = await keys.repository.get_many(ids)
    assert [key and key.id for key in found] == [key_id if key_id in made else None for key_id in ids]
    # Each of them asks whether it is still the known store.
    assert trips == [1 + len(ids[first : first + 3]) for first in range(0, max(count, 1), 3)]


async def test_nobody_knows_what_a_key_may_do_whose_record_cannot_be_read(keys: Keys) -> None:
    issued = await keys.repository.create(shape())
    await spoil(keys, issued.key.id)
    with pytest.raises(StoreUnavailable, match="damaged"):
        await keys.repository.get(issued.key.id)
    with pytest.raises(StoreUnavailable, match="damaged"):
        await keys.repository.find_first([keys.digester.primary(issued.token.encode())])


class _Meddled:
    """A store for which something happens just before command number `at` of those that are sent; its servers may answer in any order."""

    def __init__(self, store: Store, at: int, act: Callable[[], Awaitable[None]], order: tuple[int, ...] = ()) -> None:
        self._store = store
        self._order = order
        self.answers_in_order = not order
        self._left = at
        self._act = act
        self.happened = False

    async def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        replies: list[Any] = [None] * len(commands)
        for place in sorted(range(len(commands)), key=lambda place: self._order[place] if self._order else place):
            if not self._left:
                self.happened = True
                await self._act()
            self._left -= 1
            replies[place] = await self._store.call(*commands[place])
        return replies


async def _first_use(store: Store, data_dir: Path, imported: bool) -> tuple[Keys, Found, bytes]:
    """A key whose secret its next use moves to the current pepper: as it is before that, and its token."""
    before = await open_keys(store, data_dir, pepper=OLDER_PEPPER, accept_imported=True)
    token = IMPORTED if imported else (await before.repository.create(shape())).token.encode()
    if imported:
        await before.repository.import_key(shape(), imported_digest(token), "sk-…here")
    keys = await open_keys(store, data_dir, previous=OLDER_PEPPER, accept_imported=True)
    found = await keys.repository.find_first(keys.digester.candidates(token))
    assert found is not None
    return keys, found, token


@pytest.mark.parametrize("imported", [True, False], ids=["imported", "of the pepper before"])
@pytest.mark.parametrize("at", range(MOST_COMMANDS))
@pytest.mark.parametrize("order", [(), *((0, *order) for order in permutations((1, 2, 3)))], ids=str)
async def test_a_token_is_known_whenever_another_worker_moves_its_secret(
    store: Store, tmp_path: Path, at: int, imported: bool, order: tuple[int, ...]
) -> None:
    """The entry that was read may lead to a record that has only the new digest; or both entries may be missed, one after the other."""
    keys, found, token = await _first_use(store, tmp_path, imported)
    digests = keys.digester.candidates(token)
    meddled = _Meddled(store, at, lambda: Rehasher(keys.repository, keys.digester).rehash(found, token), order)
    seen = await KeyReader(cast("Store", meddled), keys.adoption).find_first(digests)
    assert meddled.happened
    assert seen is not None
    assert seen.key.id == found.key.id
    assert seen.secret.id == found.secret.id


@pytest.mark.parametrize("at", range(MOST_COMMANDS))
@pytest.mark.parametrize("order", [(0, *order) for order in permutations((1, 2))], ids=str)
async def test_a_token_is_known_while_a_replica_with_the_peppers_the_other_way_round_moves_its_secret(
    store: Store, tmp_path: Path, at: int, order: tuple[int, ...]
) -> None:
    """As when a change of the pepper is taken back, one replica after the other: the entry goes from the first digest to the second."""
    keys = await open_keys(store, tmp_path, previous=OLDER_PEPPER)
    issued = await keys.repository.create(shape())
    token = issued.token.encode()
    found = await keys.repository.find_first(keys.digester.candidates(token))
    assert found is not None
    other = await open_keys(store, tmp_path, pepper=OLDER_PEPPER, previous=PEPPER)
    meddled = _Meddled(store, at, lambda: Rehasher(other.repository, other.digester).rehash(found, token), order)
    seen = await KeyReader(cast("Store", meddled), keys.adoption).find_first(keys.digester.candidates(token))
    assert seen is not None and seen.key.id == issued.key.id
