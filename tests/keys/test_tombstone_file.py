"""Revocations that a failover lost are repeated."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from sidecar.keys.admin_tokens import AdminTokens
from sidecar.keys.record import secret_is_live
from sidecar.keys.repository import KeyRepository
from sidecar.keys.tombstone_file import COMPACTED_AT, REMEMBERED_FOR, TombstoneFile, reapply
from sidecar.store import names
from sidecar.store.client import Store
from tests.support.disk import full_disk
from tests.support.keys import change, open_keys, shape


def test_it_is_remembered_for_a_day_and_over_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "data" / "tombstones"
    tombstones = TombstoneFile(file, 0.0)
    tombstones.add("key_1", 0.0)
    tombstones.add("key_2", 100.0)
    assert file.stat().st_mode & 0o777 == 0o600
    with file.open("ab") as torn:
        torn.write(b'["key_3",1')
    for again in (tombstones, TombstoneFile(file, 200.0)):
        assert again.recent(200.0) == ["key_1", "key_2"]
        assert again.recent(REMEMBERED_FOR) == ["key_2"]


def test_the_file_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "tombstones"
    tombstones = TombstoneFile(file, 0.0)
    file.write_bytes(b"")
    tombstones._lines = COMPACTED_AT - 1
    tombstones.add("key_old", 0.0)
    tombstones.add("key_new", REMEMBERED_FOR)
    assert file.read_bytes() == b'["key_new",86400.0]\n'


def test_a_day_of_many_revocations_is_not_written_anew_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.keys.tombstone_file.COMPACTED_AT", 10)
    file = tmp_path / "tombstones"
    tombstones = TombstoneFile(file, 0.0)
    made_anew, inode = 0, 0
    for number in range(200):
        tombstones.add(f"key_{number}", 0.0)
        made_anew += file.stat().st_ino != inode
        inode = file.stat().st_ino
    assert made_anew < 10
    assert len(TombstoneFile(file, 0.0).recent(0.0)) == 200
    for number in range(400):
        tombstones.add(f"key_of_the_next_day_{number}", REMEMBERED_FOR)
    assert b'"key_1"' not in file.read_bytes()


def test_what_a_full_disk_cut_short_spoils_no_later_line(tmp_path: Path) -> None:
    file = tmp_path / "tombstones"
    tombstones = TombstoneFile(file, 0.0)
    for known in ("key_1", "key_2"):
        tombstones.add(known, 0.0)
    with full_disk(file.stat().st_size + 9), pytest.raises(OSError, match="too large"):
        tombstones.add("key_while_full", 0.0)
    tombstones.add("key_after", 0.0)
    assert TombstoneFile(file, 0.0).recent(0.0) == ["key_1", "key_2", "key_while_full", "key_after"]


async def test_a_lost_revocation_is_repeated(store: Store, tmp_path: Path) -> None:
    keys = await open_keys(store, tmp_path)
    tombstones = TombstoneFile(tmp_path / "tombstones", keys.clock.now)
    repository = KeyRepository(store, keys.adoption, keys.digester, tombstones=tombstones, clock=keys.clock)
    lost, kept = (await repository.create(shape())).key, (await repository.create(shape())).key
    before = await store.call("HGETALL", names.key(lost.id))
    await repository.revoke(lost.id)
    await repository.revoke(kept.id)
    await store.call("HSET", names.key(lost.id), *(part for pair in before.items() for part in pair))
    admin_tokens = AdminTokens(store, keys.adoption, keys.digester, tombstones=tombstones)
    assert [one async for one in reapply(tombstones, repository, admin_tokens, keys.clock.now)] == [lost.id]
    after = await repository.get(lost.id)
    assert after is not None
    assert after.revoked_at is not None
    assert [one async for one in reapply(tombstones, repository, admin_tokens, keys.clock.now)] == []


async def test_many_are_repeated_before_the_first_one_is_durable(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that has just taken over may have neither disk nor replica that says so for long."""
    keys = await open_keys(store, tmp_path)
    tombstones = TombstoneFile(tmp_path / "tombstones", keys.clock.now)
    lost = [(await keys.repository.create(shape())).key.id for _ in range(3)]
    for key_id in lost:
        tombstones.add(key_id, keys.clock.now)
    monkeypatch.setattr(store, "durable", asyncio.Event().wait)
    admin_tokens = AdminTokens(store, keys.adoption, keys.digester)
    async with asyncio.timeout(10):
        assert [one async for one in reapply(tombstones, keys.repository, admin_tokens, keys.clock.now)] == lost
    assert all(key is not None and key.revoked_at is not None for key in await keys.repository.get_many(lost))


@pytest.mark.parametrize("how", ["rotated at once", "overlap ended"])
async def test_a_lost_end_of_a_secret_is_repeated(store: Store, tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
    """Also where the rotation that replaced it is lost with its end, and after a restart of whoever ended it."""
    keys = await open_keys(store, tmp_path)
    file = tmp_path / "tombstones"
    repository = KeyRepository(store, keys.adoption, keys.digester, tombstones=TombstoneFile(file, keys.clock.now), clock=keys.clock)
    admin_tokens = AdminTokens(store, keys.adoption, keys.digester)
    key = (await repository.create(shape())).key
    leaked = key.secrets[0].id
    if how == "overlap ended":
        await repository.rotate(key.id, 3600.0)
    before = await store.call("HGETALL", names.key(key.id))
    await (repository.rotate(key.id, 0.0) if how == "rotated at once" else repository.end_secret(key.id, leaked))
    again = TombstoneFile(file, keys.clock.now)
    assert [one async for one in reapply(again, repository, admin_tokens, keys.clock.now)] == []
    await store.call("HSET", names.key(key.id), *(part for pair in before.items() for part in pair))
    assert [one async for one in reapply(again, repository, admin_tokens, keys.clock.now)] == [f"{key.id}/{leaked}"]
    after = await repository.get(key.id)
    assert after is not None and after.revoked_at is None
    alive = [one.id for one in after.secrets if secret_is_live(one, keys.clock.now)]
    assert leaked not in alive and len(alive) == (how == "overlap ended")
    assert f"{key.id}/{leaked}; it is revoked again" in caplog.text
    assert [one async for one in reapply(again, repository, admin_tokens, keys.clock.now)] == []
    await repository.revoke(key.id)
    assert [one async for one in reapply(again, repository, admin_tokens, keys.clock.now)] == []


async def test_only_secrets_that_a_change_ends_at_once_are_noted(store: Store, tmp_path: Path) -> None:
    keys = await open_keys(store, tmp_path)
    tombstones = TombstoneFile(tmp_path / "tombstones", keys.clock.now)
    repository = KeyRepository(store, keys.adoption, keys.digester, tombstones=tombstones, clock=keys.clock)
    key = (await repository.create(shape())).key
    retiring = (await repository.rotate(key.id, 60.0)).key.secrets
    await repository.update(key.id, change(disabled=True))
    keys.clock.now += 61
    await repository.update(key.id, change(disabled=False))
    assert tombstones.recent(keys.clock.now) == []
    await repository.rotate(key.id, 0.0)
    assert tombstones.recent(keys.clock.now) == [f"{key.id}/{retiring[0].id}"]


async def test_a_lost_revocation_of_an_admin_token_is_repeated(store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of a record of a newer version too, and after a restart of whoever revoked."""
    keys = await open_keys(store, tmp_path)
    file = tmp_path / "tombstones"
    tombstones = TombstoneFile(file, keys.clock.now)
    tokens = AdminTokens(store, keys.adoption, keys.digester, tombstones=tombstones, clock=keys.clock)
    await tokens.create("stays", "admin")
    lost, kept = (await tokens.create("lost", "admin"), await tokens.create("kept", "viewer"))
    for number, record in enumerate(({"id": "sat_newer", "role": "auditor"}, {"id": ["no id"]})):
        await store.call("HSET", names.ADMIN_TOKENS, f"digest-{number}", msgspec.json.encode(record))
    await tokens.revoke(kept.record.id)
    before = await store.call("DUMP", names.ADMIN_TOKENS)
    await tokens.revoke(lost.record.id)
    await tokens.revoke("sat_newer")
    await store.call("RESTORE", names.ADMIN_TOKENS, 0, before, "REPLACE")
    assert await tokens.verify(lost.token.encode()) is not None
    again = TombstoneFile(file, keys.clock.now)
    assert sorted([one async for one in reapply(again, keys.repository, tokens, keys.clock.now)]) == sorted([lost.record.id, "sat_newer"])
    assert await tokens.verify(lost.token.encode()) is None
    assert [token.name for token in await tokens.list()] == ["stays"]
    assert caplog.text.count("it is revoked again") == 2
    assert [one async for one in reapply(again, keys.repository, tokens, keys.clock.now)] == []
