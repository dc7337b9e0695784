"""When a secret is moved to the current pepper: at its first use, once, in the background."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from sidecar.keys.cache import MISS, KeyCache
from sidecar.keys.digest import import_memory, imported_digest
from sidecar.keys.lease import Lease
from sidecar.keys.lookup import Lookup
from sidecar.keys.reader import Found
from sidecar.keys.rehash import Rehasher
from sidecar.store import names
from sidecar.store.client import Store, StoreUnavailable
from tests.support.keys import OLDER_PEPPER, PEPPER, Keys, change, open_keys, shape

TOKEN = b"sk-from-elsewhere"


@pytest.fixture
async def keys(store: Store, tmp_path: Path) -> Keys:
    return await open_keys(store, tmp_path, accept_imported=True)


async def imported(keys: Keys) -> Found:
    await keys.repository.import_key(shape("imported"), imported_digest(TOKEN), "sk-…here")
    found = await keys.repository.find_first(keys.digester.candidates(TOKEN))
    assert found is not None
    return found


async def test_an_offered_secret_is_moved_once(keys: Keys) -> None:
    found = await imported(keys)
    rehasher = Rehasher(keys.repository, keys.digester)
    for _ in range(5):
        rehasher.offer(found, TOKEN)
    await rehasher.close()
    moved = await keys.repository.find_first([keys.digester.primary(TOKEN)])
    assert moved is not None
    assert moved.key.revision == found.key.revision + 1
    assert not rehasher.is_due(moved)
    rehasher.offer(moved, TOKEN)
    await rehasher.close()
    assert await keys.repository.get(found.key.id) == moved.key


async def test_a_key_made_here_is_left_alone(keys: Keys) -> None:
    issued = await keys.repository.create(shape())
    found = await keys.repository.identify(issued.token.encode())
    assert found is not None
    rehasher = Rehasher(keys.repository, keys.digester)
    rehasher.offer(found, issued.token.encode())
    await rehasher.close()
    assert await keys.repository.get(issued.key.id) == issued.key


async def test_what_a_store_that_is_away_prevents_the_next_use_does(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    found = await imported(keys)
    rehasher = Rehasher(keys.repository, keys.digester)

    async def away(*_: Any) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as during:
        during.setattr(keys.repository, "update", away)
        rehasher.offer(found, TOKEN)
        await rehasher.close()
    assert await keys.repository.find_first([keys.digester.primary(TOKEN)]) is None
    rehasher.offer(found, TOKEN)
    await rehasher.close()
    assert await keys.repository.find_first([keys.digester.primary(TOKEN)]) is not None


class _Held:
    """A lease that holds for good."""

    def fresh(self) -> bool:
        return True

    def age(self) -> float:
        return 0.0


async def test_a_key_that_is_remembered_is_moved_too_though_the_store_was_away_at_its_first_use(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be used for weeks under the pepper before, and be unknown once that is taken out."""
    before = await open_keys(store, tmp_path, pepper=OLDER_PEPPER)
    token = (await before.repository.create(shape())).token.encode()
    after = await open_keys(store, tmp_path, previous=OLDER_PEPPER)
    cache = KeyCache(100)
    lookup = Lookup(after.repository, cache, cast(Lease, _Held()), after.digester)
    forgotten = asyncio.Event()

    def forget(key_id: str) -> None:
        cache.forget_key(key_id)
        forgotten.set()

    rehasher = Rehasher(after.repository, after.digester, forget=forget, retry_after=0.5)

    async def use() -> None:
        if lookup.cached(token) is MISS:
            found = await lookup.resolve(token)
            assert found is not None
            rehasher.offer(found, token)
        await rehasher.close()

    async def away(*_: Any) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as during:
        during.setattr(after.repository, "update", away)
        await use()
    if not forgotten.is_set():
        await use()
        assert await after.repository.find_first([after.digester.primary(token)]) is None, "the store is left alone for a while"
    await forgotten.wait()
    await use()
    assert await after.repository.find_first([after.digester.primary(token)]) is not None


async def test_a_change_and_a_move_at_a_time_both_stand(store: Store, tmp_path: Path) -> None:
    before = await open_keys(store, tmp_path, pepper=OLDER_PEPPER)
    issued = await before.repository.create(shape())
    after = await open_keys(store, tmp_path, previous=OLDER_PEPPER)
    token = issued.token.encode()
    found = await after.repository.find_first(after.digester.candidates(token))
    assert found is not None
    rehasher = Rehasher(after.repository, after.digester)
    rehasher.offer(found, token)
    await asyncio.gather(after.repository.update(issued.key.id, change(disabled=True)), after.repository.rotate(issued.key.id, 60))
    await rehasher.close()
    moved = await after.repository.find_first([after.digester.primary(token)])
    assert moved is not None
    assert moved.key.disabled
    assert moved.secret.state == "retiring"


async def test_only_an_import_is_remembered_as_one(store: Store, tmp_path: Path) -> None:
    before = await open_keys(store, tmp_path, pepper=OLDER_PEPPER)
    token = (await before.repository.create(shape())).token.encode()
    after = await open_keys(store, tmp_path, previous=OLDER_PEPPER)
    found = await after.repository.find_first(after.digester.candidates(token))
    assert found is not None
    await Rehasher(after.repository, after.digester).rehash(found, token)
    for pepper in (OLDER_PEPPER, PEPPER):
        assert await store.call("EXISTS", names.digest(import_memory(imported_digest(token), pepper))) == 0


async def test_a_secret_stays_where_its_import_is_remembered_until_it_can_be_remembered_anew(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await imported(keys)
    rehasher = Rehasher(keys.repository, keys.digester)

    async def away(*_: Any) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as during:
        during.setattr(keys.repository, "carry_import", away)
        await rehasher.rehash(found, TOKEN)
    assert await keys.repository.get(found.key.id) == found.key


async def test_while_the_peppers_change_places_no_secret_goes_to_and_fro(store: Store, tmp_path: Path) -> None:
    """Each move is reported to every worker and looked up anew: with both at it, each request would be a change of the key."""
    first = await open_keys(store, tmp_path / "one", previous=OLDER_PEPPER)
    token = (await first.repository.create(shape())).token.encode()
    back = await open_keys(store, tmp_path / "two", pepper=OLDER_PEPPER, previous=PEPPER)
    revisions = []
    for _ in range(3):
        for keys in (first, back):
            found = await keys.repository.find_first(keys.digester.candidates(token))
            assert found is not None
            revisions.append(found.key.revision)
            rehasher = Rehasher(keys.repository, keys.digester)
            rehasher.offer(found, token)
            await rehasher.close()
    assert revisions == [1, 1, 2, 2, 2, 2], "it goes to where the store has gone, once"
    assert await back.repository.find_first([back.digester.primary(token)]) is not None
