"""Requests that are sent twice at the same moment, on a real store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sidecar.keys.issue import new_id
from sidecar.keys.repository import Issued, RevisionConflict, SecretExists
from sidecar.store.client import Store
from tests.support.keys import open_keys, shape


@pytest.mark.parametrize("expected", [None, 1])
async def test_of_two_rotations_of_one_claim_the_slower_is_a_repeat(store: Store, tmp_path: Path, expected: int | None) -> None:
    keys = (await open_keys(store, tmp_path)).repository
    key = (await keys.create(shape())).key
    secret_id = new_id("sec")
    ends = await asyncio.gather(*(keys.rotate(key.id, 60, expected, secret_id=secret_id) for _ in range(4)), return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["Issued", *["SecretExists"] * 3]
    after = await keys.get(key.id)
    assert after is not None and (after.revision, len(after.secrets)) == (2, 2)


async def test_of_two_claims_on_one_revision_the_slower_is_a_conflict(store: Store, tmp_path: Path) -> None:
    keys = (await open_keys(store, tmp_path)).repository
    key = (await keys.create(shape())).key
    ends = await asyncio.gather(*(keys.rotate(key.id, 60, 1, secret_id=new_id("sec")) for _ in range(2)), return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == [Issued.__name__, RevisionConflict.__name__]


async def test_a_repeat_outlives_the_revision_that_it_expects(store: Store, tmp_path: Path) -> None:
    keys = (await open_keys(store, tmp_path)).repository
    key = (await keys.create(shape())).key
    secret_id = new_id("sec")
    await keys.rotate(key.id, 60, 1, secret_id=secret_id)
    with pytest.raises(SecretExists):
        await keys.rotate(key.id, 60, 1, secret_id=secret_id)
