"""Two imports of one secret at a time: one key comes of it."""

from __future__ import annotations

import asyncio
import functools
import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sidecar.keys.claim import Claims
from sidecar.keys.record import Key
from sidecar.keys.rehash import Rehasher
from sidecar.keys.repository import AlreadyImported, KeyRepository
from sidecar.store import names
from sidecar.store.client import Store
from tests.support.keys import OLDER_PEPPER, Keys, open_keys, shape


@pytest.fixture
async def keys(store: Store, tmp_path: Path) -> Keys:
    return await open_keys(store, tmp_path)


@pytest.mark.parametrize("stalls_after", range(1, 10))
async def test_a_stalled_import_that_another_overtakes_gives_way(keys: Keys, stalls_after: int) -> None:
    """Wherever it stalls: one of the two keys lives, and it is the one that the token leads to."""
    sha256 = hashlib.sha256(b"sk-x").hexdigest()
    other = KeyRepository(keys.store, keys.adoption, keys.digester)
    other._claims = Claims(keys.store, keys.adoption, other.get, patience=0.01)
    left = stalls_after
    overtaking: list[Key | BaseException] = []

    async def stalling(act: Any, *args: Any) -> Any:
        nonlocal left
        reply = await act(*args)
        left -= 1
        if left == 0:
            overtaking.extend(await asyncio.gather(other.import_key(shape("other"), sha256, "h"), return_exceptions=True))
        return reply

    store = keys.store
    acts = {name: functools.partial(stalling, getattr(store, name)) for name in ("call", "pipeline", "run")}
    stalled = SimpleNamespace(**acts, run_many=store.run_many, durable=store.durable)
    mine = KeyRepository(cast(Any, stalled), keys.adoption, keys.digester)
    results = [*await asyncio.gather(mine.import_key(shape("mine"), sha256, "h"), return_exceptions=True), *overtaking]
    assert all(isinstance(result, Key | AlreadyImported) for result in results), results
    (alive,) = (result for result in results if isinstance(result, Key))
    found = await keys.repository.find_first([sha256])
    assert found is not None and found.key.id == alive.id


async def test_a_digest_that_leads_nowhere_is_no_import(keys: Keys) -> None:
    sha256 = hashlib.sha256(b"sk-x").hexdigest()
    await keys.store.call("SET", names.digest(sha256), "key_never_written")
    keys.repository._claims = Claims(keys.store, keys.adoption, keys.repository.get, patience=0.01)
    key = await keys.repository.import_key(shape(), sha256, "h")
    found = await keys.repository.find_first([sha256])
    assert found is not None and found.key.id == key.id


async def test_a_secret_is_imported_once_although_its_use_moved_it(store: Store, tmp_path: Path) -> None:
    """Its SHA-256 has left the store then. A second key would be one that the token does not open, and whose end does not end it."""
    token = b"sk-x"
    sha256 = hashlib.sha256(token).hexdigest()
    before = await open_keys(store, tmp_path, pepper=OLDER_PEPPER, accept_imported=True)
    key = await before.repository.import_key(shape("first"), sha256, "h")
    after = await open_keys(store, tmp_path, previous=OLDER_PEPPER, accept_imported=True)
    alone = await open_keys(store, tmp_path, accept_imported=True)
    for keys in (before, after, alone):
        # A pepper that is followed is no longer the store's.
        await keys.adoption.adopt(store)
        found = await keys.repository.find_first(keys.digester.candidates(token))
        assert found is not None and found.key.id == key.id
        await Rehasher(keys.repository, keys.digester).rehash(found, token)
        assert await keys.repository.find_first([sha256]) is None
        with pytest.raises(AlreadyImported) as refused:
            await keys.repository.import_key(shape("again"), sha256, "h")
        assert refused.value.key_id == key.id


@pytest.mark.parametrize("used_while_both", [True, False])
async def test_an_import_that_is_first_used_after_a_change_of_the_pepper_is_remembered(
    store: Store, tmp_path: Path, used_while_both: bool
) -> None:
    """It was remembered under the pepper of the time of the import, which nobody has now."""
    sha256 = hashlib.sha256(b"sk-x").hexdigest()
    before = await open_keys(store, tmp_path, pepper=OLDER_PEPPER, accept_imported=True)
    key = await before.repository.import_key(shape("first"), sha256, "h")
    after = await open_keys(store, tmp_path, previous=OLDER_PEPPER, accept_imported=True)
    alone = await open_keys(store, tmp_path, accept_imported=True)
    user = after if used_while_both else alone
    found = await user.repository.find_first(user.digester.candidates(b"sk-x"))
    assert found is not None
    await Rehasher(user.repository, user.digester).rehash(found, b"sk-x")
    with pytest.raises(AlreadyImported) as refused:
        await alone.repository.import_key(shape("again"), sha256, "h")
    assert refused.value.key_id == key.id
