"""Repeats of create and rotate: never two keys, never two secrets."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sidecar.keys.idempotency import REMEMBERED_FOR, Idempotency, IdempotencyConflict
from sidecar.keys.issue import new_id
from sidecar.keys.repository import Issued, KeyExists, SecretExists
from sidecar.store import names
from sidecar.store.client import Store
from tests.support.keys import Keys, open_keys, shape


@pytest.fixture
async def keys(store: Store, tmp_path: Path) -> Keys:
    return await open_keys(store, tmp_path)


async def test_a_repeat_gets_the_same_subject(store: Store) -> None:
    idempotency = Idempotency(store)
    first = await idempotency.claim("alice", "k", b"body", "key_1")
    again = await idempotency.claim("alice", "k", b"body", "key_2")
    assert (first.subject, first.first) == ("key_1", True)
    assert (again.subject, again.first) == ("key_1", False)


@pytest.mark.parametrize(("actor", "key"), [("bob", "k"), ("alice", "other"), ("alicek", "")])
async def test_claims_of_others_are_theirs(store: Store, actor: str, key: str) -> None:
    idempotency = Idempotency(store)
    await idempotency.claim("alice", "k", b"body", "key_1")
    assert (await idempotency.claim(actor, key, b"other body", "key_2")).subject == "key_2"


async def test_another_request_under_the_same_key_is_a_conflict(store: Store) -> None:
    idempotency = Idempotency(store)
    await idempotency.claim("alice", "k", b"body", "key_1")
    with pytest.raises(IdempotencyConflict):
        await idempotency.claim("alice", "k", b"body!", "key_1")


async def test_claims_end_after_a_day_and_keep_nothing_that_was_sent(store: Store) -> None:
    await Idempotency(store).claim("alice", "their-key", b"their-body", "key_1")
    (name,) = await store.call("KEYS", names.IDEMPOTENCY_PREFIX + "*")
    assert REMEMBERED_FOR - 10 < await store.call("TTL", name) <= REMEMBERED_FOR
    for text in (b"alice", b"their-key", b"their-body"):
        assert text not in name + await store.call("GET", name)


async def test_repeated_creation_makes_one_key(keys: Keys) -> None:
    idempotency = Idempotency(keys.store)

    async def create() -> Issued | str:
        claim = await idempotency.claim("alice", "k", b"body", new_id("key"))
        try:
            return await keys.repository.create(shape(), claim.subject)
        except KeyExists:
            return claim.subject

    results = [*await asyncio.gather(*(create() for _ in range(8))), await create()]
    issued = [result for result in results if isinstance(result, Issued)]
    assert len(issued) == 1
    assert {result for result in results if isinstance(result, str)} == {issued[0].key.id}
    assert await keys.repository.count() == 1
    found = await keys.repository.identify(issued[0].token.encode())
    assert found is not None
    assert found.key == issued[0].key


async def test_repeated_rotation_makes_one_secret(keys: Keys) -> None:
    key = (await keys.repository.create(shape())).key
    results = await asyncio.gather(
        *(keys.repository.rotate(key.id, 60.0, 1, secret_id="sec_claimed") for _ in range(5)), return_exceptions=True
    )
    issued = [result for result in results if isinstance(result, Issued)]
    assert len(issued) == 1
    with pytest.raises(SecretExists):
        await keys.repository.rotate(key.id, 60.0, 1, secret_id="sec_claimed")
    found = await keys.repository.identify(issued[0].token.encode())
    assert found is not None
    assert [secret.id for secret in found.key.secrets] == ["sec_claimed", key.secrets[0].id]


async def test_what_was_made_is_known_for_as_long_as_its_claim(store: Store) -> None:
    idempotency = Idempotency(store)
    assert not (await idempotency.claim("alice", "k", b"body", "sec_1")).made
    assert not (await idempotency.claim("alice", "k", b"body", "sec_2")).made
    await idempotency.made("alice", "k", "sec_1")
    assert (await idempotency.claim("alice", "k", b"body", "sec_2")).made
    # The claim ends first, and the name is taken anew.
    claim, mark = sorted(await store.call("KEYS", names.IDEMPOTENCY_PREFIX + "*"))
    assert REMEMBERED_FOR - 10 < await store.call("TTL", mark) <= REMEMBERED_FOR
    await store.call("DEL", claim)
    anew = await idempotency.claim("alice", "k", b"body", "sec_3")
    assert (anew.subject, anew.first, anew.made) == ("sec_3", True, False)
