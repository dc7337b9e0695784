"""Whoever reads the audit log sees that a revocation was lost, and when it was repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.control.audit import AuditLog, Filter, Journal, Party
from sidecar.control.lost_revocations import ACTOR, LostRevocations
from sidecar.keys.admin_tokens import AdminTokens
from sidecar.keys.tombstone_file import BATCH, TombstoneFile
from sidecar.store.client import Store, StoreUnavailable
from tests.support.keys import Keys, open_keys, shape


def repeating(store: Store, keys: Keys, tombstones: TombstoneFile, tmp_path: Path) -> LostRevocations:
    admin_tokens = AdminTokens(store, keys.adoption, keys.digester, clock=keys.clock)
    return LostRevocations(tombstones, keys.repository, admin_tokens, AuditLog(store, Journal(tmp_path / "audit"), keys.clock), keys.clock)


async def recorded(store: Store, tmp_path: Path) -> list[tuple[str, Party | None, str]]:
    log = AuditLog(store, Journal(tmp_path / "audit"))
    events = [sealed.event async for sealed in log.export(Filter())]
    assert all(event.actor == ACTOR and event.outcome == "success" for event in events)
    return [(event.action, event.target, event.reason) for event in events]


async def test_what_is_revoked_again_is_recorded_once(store: Store, tmp_path: Path) -> None:
    keys = await open_keys(store, tmp_path)
    tombstones = TombstoneFile(tmp_path / "tombstones", keys.clock.now)
    lost, rotated = (await keys.repository.create(shape())).key, (await keys.repository.create(shape())).key
    token = await AdminTokens(store, keys.adoption, keys.digester, clock=keys.clock).create("lost", "admin")
    secret = rotated.secrets[0].id
    for noted in (lost.id, f"{rotated.id}/{secret}", token.record.id, "key_that_is_gone"):
        tombstones.add(noted, keys.clock.now)
    repeated = repeating(store, keys, tombstones, tmp_path)
    for _ in range(2):
        await repeated.repeat()
    assert await recorded(store, tmp_path) == [
        ("admin_token.revoked", Party("admin_token", token.record.id), "The store had lost its revocation."),
        ("api_key.revoked", Party("api_key", lost.id), "The store had lost its revocation."),
        ("api_key.secret_revoked", Party("api_key", rotated.id), f"The store had lost the end of secret {secret}."),
    ]


async def test_what_was_repeated_before_the_store_went_away_is_recorded(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = await open_keys(store, tmp_path)
    tombstones = TombstoneFile(tmp_path / "tombstones", keys.clock.now)
    lost = (await keys.repository.create(shape())).key
    tombstones.add(lost.id, keys.clock.now)
    for number in range(BATCH):
        tombstones.add(f"key_{number}", keys.clock.now)
    read = keys.repository.get_many

    async def only_the_first(key_ids: list[str]) -> list[object]:
        if lost.id not in key_ids:
            raise StoreUnavailable("away")
        return list(await read(key_ids))

    monkeypatch.setattr(keys.repository, "get_many", only_the_first)
    with pytest.raises(StoreUnavailable):
        await repeating(store, keys, tombstones, tmp_path).repeat()
    assert [target for _, target, _ in await recorded(store, tmp_path)] == [Party("api_key", lost.id)]
