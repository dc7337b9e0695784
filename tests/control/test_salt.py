from __future__ import annotations

import asyncio

import pytest

from sidecar.control.salt import Salt, first_salt
from sidecar.keys.digest import Pepper
from sidecar.store import names
from sidecar.store.client import Store
from tests.support.keys import OLDER_PEPPER, PEPPER

NEWEST_PEPPER = Pepper.of(b"n" * 32)


async def test_the_salt_outlives_every_pepper(store: Store) -> None:
    salt = await Salt(store, OLDER_PEPPER).read()
    for peppers in ((PEPPER, OLDER_PEPPER), (PEPPER,), (NEWEST_PEPPER, PEPPER), (NEWEST_PEPPER,)):
        assert await Salt(store, *peppers).read() == salt


async def test_a_store_of_before_goes_on_with_what_was_derived_from_its_pepper(store: Store) -> None:
    assert await Salt(store, PEPPER, OLDER_PEPPER).read() == first_salt(OLDER_PEPPER) != first_salt(PEPPER)
    assert Salt(store, PEPPER).value == first_salt(PEPPER)


async def test_replicas_have_one_salt_while_the_pepper_is_swapped(store: Store) -> None:
    """Whichever of the two each has in use."""
    salt = await Salt(store, OLDER_PEPPER).read()
    for peppers in ((PEPPER, OLDER_PEPPER), (OLDER_PEPPER,), (OLDER_PEPPER, PEPPER), (PEPPER, OLDER_PEPPER)):
        assert await Salt(store, *peppers).read() == salt


async def test_of_two_that_begin_at_once_the_first_decides(store: Store) -> None:
    """With a pepper from before or not, they would begin with different ones."""
    salts = [Salt(store, PEPPER, previous) for previous in (None, OLDER_PEPPER)]
    one, other = await asyncio.gather(*(salt.read() for salt in salts))
    assert one == other == salts[0].value == salts[1].value


async def test_an_emptied_store_gets_the_salt_of_whoever_detects(store: Store) -> None:
    salt = Salt(store, PEPPER, OLDER_PEPPER)
    kept = await salt.read()
    await store.call("FLUSHALL")
    assert await salt.read() == kept
    assert await Salt(store, PEPPER).read() == kept


@pytest.mark.parametrize("broken", [b"", b"short", b"x" * 33])
async def test_what_is_no_salt_is_none(store: Store, broken: bytes) -> None:
    await store.call("HSET", names.ANOMALY_SALTS, PEPPER.id, broken, OLDER_PEPPER.id, broken)
    assert await Salt(store, PEPPER, OLDER_PEPPER).read() == first_salt(OLDER_PEPPER)


async def test_the_store_alone_does_not_tell_the_salt(store: Store) -> None:
    salt = await Salt(store, PEPPER).read()
    stored = await store.call("HGETALL", names.ANOMALY_SALTS)
    assert list(stored) == [PEPPER.id.encode()]
    assert stored[PEPPER.id.encode()] not in (salt, bytes(32)) and len(salt) == 32
