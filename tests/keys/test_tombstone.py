"""A revocation stands, whatever becomes of the note of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.keys.admin_tokens import AdminTokens
from sidecar.keys.repository import KeyRepository
from sidecar.keys.tombstone_file import TombstoneFile
from sidecar.store.client import Store
from tests.support.keys import open_keys, shape


async def test_a_disk_that_takes_no_tombstone_ends_no_revocation(store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = await open_keys(store, tmp_path)
    file = tmp_path / "tombstones"
    tombstones = TombstoneFile(file, keys.clock.now)
    (tmp_path / ".tombstones.new").mkdir()
    repository = KeyRepository(store, keys.adoption, keys.digester, tombstones=tombstones, clock=keys.clock)
    tokens = AdminTokens(store, keys.adoption, keys.digester, tombstones=tombstones, clock=keys.clock)
    key, admin = (await repository.create(shape())).key, await tokens.create("a", "admin")
    assert (await repository.revoke(key.id)).key.revoked_at is not None
    await tokens.revoke(admin.record.id)
    assert await tokens.verify(admin.token.encode()) is None
    rotated = (await repository.create(shape())).key
    assert (await repository.rotate(rotated.id, 0.0)).key.secrets[1].state == "revoked"
    for revoked in (key.id, admin.record.id, f"{rotated.id}/{rotated.secrets[0].id}"):
        assert f"{revoked} is revoked, but that cannot be noted beside the store" in caplog.text
