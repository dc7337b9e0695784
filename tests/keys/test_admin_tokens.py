"""Admin tokens on a real store."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.keys.admin_tokens import ROLES, USED_AGAIN_AFTER, AdminTokens, LastAdminToken, UnknownAdminToken, may
from sidecar.keys.token import is_well_formed
from sidecar.store import names
from sidecar.store.client import Store, StoreNotAdopted
from tests.support.keys import OLDER_PEPPER, Keys, open_keys, shape


@pytest.fixture
async def keys(store: Store, tmp_path: Path) -> Keys:
    return await open_keys(store, tmp_path)


@pytest.fixture
def tokens(keys: Keys) -> AdminTokens:
    return AdminTokens(keys.store, keys.adoption, keys.digester, clock=keys.clock)


async def test_a_token_is_shown_once_and_verified(tokens: AdminTokens, keys: Keys) -> None:
    issued = await tokens.create("deploy", "operator")
    assert is_well_formed(issued.token.encode(), "sat")
    assert issued.token not in repr(issued)
    assert issued.token.encode() not in b"".join(await keys.store.call("HVALS", names.ADMIN_TOKENS))
    found = await tokens.verify(issued.token.encode())
    assert found is not None
    assert (found.id, found.name, found.role) == (issued.record.id, "deploy", "operator")
    assert await tokens.verify(issued.token.encode()[:-1] + b"!") is None
    assert await tokens.verify(b"") is None


async def test_an_api_key_is_no_admin_token_nor_the_other_way_round(tokens: AdminTokens, keys: Keys) -> None:
    api_key = await keys.repository.create(shape())
    admin = await tokens.create("x", "admin")
    assert await tokens.verify(api_key.token.encode()) is None
    assert keys.digester.candidates(admin.token.encode()) == []
    assert await keys.repository.identify(admin.token.encode()) is None


async def test_list_and_revoke(tokens: AdminTokens, keys: Keys) -> None:
    first = await tokens.create("a", "viewer")
    keys.clock.now += 1
    second = await tokens.create("b", "admin")
    await tokens.verify(second.token.encode())
    assert [(token.name, token.last_used_at) for token in await tokens.list()] == [("a", None), ("b", keys.clock.now)]
    assert (await tokens.revoke(first.record.id)).revoked_at == keys.clock.now
    assert await tokens.verify(first.token.encode()) is None
    assert [token.name for token in await tokens.list()] == ["b"]
    for unknown in (first.record.id, "sat_nothing"):
        with pytest.raises(UnknownAdminToken):
            await tokens.revoke(unknown)


async def test_use_is_noted_once_a_minute(tokens: AdminTokens, keys: Keys) -> None:
    issued = await tokens.create("a", "viewer")
    begin = keys.clock.now
    for step, noted in ((0, begin), (59, begin), (60, begin + 60)):
        keys.clock.now = begin + step
        await tokens.verify(issued.token.encode())
        assert (await tokens.list())[0].last_used_at == noted


async def test_use_is_noted_after_the_clock_was_put_back(tokens: AdminTokens, keys: Keys) -> None:
    issued = await tokens.create("a", "viewer")
    begin = keys.clock.now
    for step, noted in ((0, begin), (-59, begin), (-3600, begin - 3600), (-3590, begin - 3600)):
        keys.clock.now = begin + step
        found = await tokens.verify(issued.token.encode())
        assert found is not None
        assert found.last_used_at == (await tokens.list())[0].last_used_at == noted


@pytest.mark.parametrize("previous", [True, False], ids=["of the pepper before", "of this pepper"])
async def test_a_store_that_takes_no_writes_keeps_nobody_out(store: Store, tmp_path: Path, previous: bool) -> None:
    """Whoever must find out why it takes none signs in first; what goes unwritten is only when, and under which pepper."""
    old = await open_keys(store, tmp_path, pepper=OLDER_PEPPER)
    issued = await AdminTokens(store, old.adoption, old.digester).create("a", "admin")
    new = await open_keys(store, tmp_path, previous=OLDER_PEPPER)
    tokens = AdminTokens(store, new.adoption, new.digester, clock=new.clock)
    token = issued.token.encode()
    if not previous:
        assert await tokens.verify(token) is not None
        new.clock.now += USED_AGAIN_AFTER
    await store.call("CONFIG", "SET", "min-replicas-to-write", "1")
    found = await tokens.verify(token)
    assert found is not None
    assert found.id == issued.record.id
    await store.call("CONFIG", "SET", "min-replicas-to-write", "0")
    new.clock.now += USED_AGAIN_AFTER
    assert await tokens.verify(token) is not None
    assert (await tokens.list())[0].last_used_at == new.clock.now


async def test_the_first_token_is_a_private_file_with_the_bare_token(tokens: AdminTokens, tmp_path: Path) -> None:
    file = tmp_path / "data" / "admin-token"
    await tokens.ensure_first(file)
    await tokens.ensure_first(file)
    assert file.stat().st_mode & 0o777 == 0o600
    found = await tokens.verify(file.read_bytes())
    assert found is not None
    assert found.role == "admin"
    assert len(await tokens.list()) == 1


async def test_a_file_that_was_emptied_makes_no_admin_whom_nobody_can_be(tokens: AdminTokens, tmp_path: Path) -> None:
    file = tmp_path / "admin-token"
    file.touch()
    await tokens.ensure_first(file)
    found = await tokens.verify(file.read_bytes())
    assert found is not None
    assert found.role == "admin"
    with pytest.raises(LastAdminToken):
        await tokens.revoke(found.id, keep_an_admin=True)


async def test_a_revoked_first_token_stays_revoked(tokens: AdminTokens, tmp_path: Path) -> None:
    file = tmp_path / "admin-token"
    await tokens.ensure_first(file)
    await tokens.revoke((await tokens.list())[0].id)
    await tokens.create("alice", "admin")
    await tokens.ensure_first(file)
    assert await tokens.verify(file.read_bytes()) is None


async def test_a_new_store_learns_the_token_of_the_file(tokens: AdminTokens, keys: Keys, tmp_path: Path) -> None:
    file = tmp_path / "admin-token"
    await tokens.ensure_first(file)
    await keys.store.call("FLUSHALL")
    with pytest.raises(StoreNotAdopted):
        await tokens.verify(file.read_bytes())
    await keys.adoption.adopt(keys.store)
    await tokens.ensure_first(file)
    assert await tokens.verify(file.read_bytes()) is not None


async def backup(keys: Keys) -> dict[bytes, bytes]:
    return dict(await keys.store.call("HGETALL", names.ADMIN_TOKENS))


async def restore(keys: Keys, saved: dict[bytes, bytes]) -> None:
    await keys.store.call("DEL", names.ADMIN_TOKENS)
    for digest, raw in saved.items():
        await keys.store.call("HSET", names.ADMIN_TOKENS, digest, raw)


async def test_a_restored_store_that_never_knew_the_token_of_the_file_does_not_bring_it_back(
    tokens: AdminTokens, keys: Keys, tmp_path: Path
) -> None:
    file = tmp_path / "admin-token"
    other = await tokens.create("alice", "admin")
    saved = await backup(keys)
    await tokens.ensure_first(file)
    token = file.read_bytes()
    await tokens.revoke(next(one.id for one in await tokens.list() if one.name == "first"))
    await restore(keys, saved)
    again = AdminTokens(keys.store, keys.adoption, keys.digester)
    await again.ensure_first(file)
    await again.look_at_first()
    assert await again.verify(token) is None
    assert [one.id for one in await again.list()] == [other.record.id]
    assert file.read_bytes() == token
    # As the page says: whoever deletes the file gets another.
    file.unlink()
    await again.ensure_first(file)
    assert file.read_bytes() != token
    assert await again.verify(file.read_bytes()) is not None
    assert await again.verify(token) is None


async def test_a_restored_store_that_knew_the_token_of_the_file_is_told_that_it_was_revoked(
    tokens: AdminTokens, keys: Keys, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "admin-token"
    await tokens.create("alice", "admin")
    await tokens.ensure_first(file)
    saved = await backup(keys)
    first = next(one.id for one in await tokens.list() if one.name == "first")
    await tokens.revoke(first)
    await restore(keys, saved)
    await AdminTokens(keys.store, keys.adoption, keys.digester).ensure_first(file)
    assert await tokens.verify(file.read_bytes()) is None
    assert first in caplog.text
    assert file.read_text() not in caplog.text


async def test_a_restored_store_whose_only_admin_was_revoked_gets_a_new_first_token(
    tokens: AdminTokens, keys: Keys, tmp_path: Path
) -> None:
    """Made before anybody else had a token, as a first backup may be: nobody could get in, and restore what there was."""
    file = tmp_path / "admin-token"
    await tokens.ensure_first(file)
    revoked, saved = file.read_bytes(), await backup(keys)
    await tokens.create("alice", "admin")
    await tokens.revoke(next(one.id for one in await tokens.list() if one.name == "first"))
    await restore(keys, saved)
    await tokens.look_at_first()
    assert file.read_bytes() != revoked
    assert await tokens.verify(revoked) is None
    found = await tokens.verify(file.read_bytes())
    assert found is not None
    assert (found.name, found.role) == ("first", "admin")


async def test_a_new_store_gets_a_new_first_token_where_the_last_one_was_revoked(tokens: AdminTokens, keys: Keys, tmp_path: Path) -> None:
    """Nobody could get in else. It may be adopted while the sidecar runs."""
    file = tmp_path / "admin-token"
    await tokens.ensure_first(file)
    token = file.read_bytes()
    await tokens.revoke((await tokens.list())[0].id)
    await keys.store.call("FLUSHALL")
    await keys.adoption.adopt(keys.store)
    await tokens.look_at_first()
    assert file.read_bytes() != token
    assert file.stat().st_mode & 0o777 == 0o600
    found = await tokens.verify(file.read_bytes())
    assert found is not None
    assert found.role == "admin"
    assert await tokens.verify(token) is None


async def test_the_revocation_of_another_replica_is_noted_too_whatever_the_pepper_then(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "admin-token"
    old = await open_keys(store, tmp_path, pepper=OLDER_PEPPER)
    ours, theirs = (AdminTokens(store, old.adoption, old.digester) for _ in range(2))
    await ours.ensure_first(file)
    await theirs.create("alice", "admin")
    await theirs.revoke(next(one.id for one in await theirs.list() if one.name == "first"))
    await ours.look_at_first()
    await store.call("DEL", names.ADMIN_TOKENS)
    new = await open_keys(store, tmp_path, previous=OLDER_PEPPER)
    restored = AdminTokens(store, new.adoption, new.digester)
    await restored.create("alice", "admin")
    await restored.ensure_first(file)
    assert [one.name for one in await restored.list()] == ["alice"]
    assert await restored.verify(file.read_bytes()) is None


async def test_a_file_that_is_gone_or_half_written_is_left_alone_until_the_next_start(tokens: AdminTokens, tmp_path: Path) -> None:
    file = tmp_path / "admin-token"
    await tokens.ensure_first(file)
    file.write_text("sat_half")
    await tokens.look_at_first()
    file.unlink()
    await tokens.look_at_first()
    assert not file.exists()
    assert len(await tokens.list()) == 1


async def test_a_disk_that_takes_no_note_stands_in_the_way_of_no_revocation(
    tokens: AdminTokens, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "admin-token"
    await tokens.ensure_first(file)
    (tmp_path / "admin-token.revoked").mkdir()
    await tokens.revoke((await tokens.list())[0].id)
    assert await tokens.verify(file.read_bytes()) is None
    assert "cannot be noted beside it" in caplog.text
    await tokens.look_at_first()
    file.unlink()
    file.mkdir()
    await tokens.look_at_first()
    assert "the first admin token cannot be looked at" in caplog.text


async def test_tokens_survive_a_new_pepper(store: Store, tmp_path: Path) -> None:
    old = await open_keys(store, tmp_path, pepper=OLDER_PEPPER)
    issued = await AdminTokens(store, old.adoption, old.digester).create("a", "admin")
    both = await open_keys(store, tmp_path, previous=OLDER_PEPPER)
    assert await AdminTokens(store, both.adoption, both.digester).verify(issued.token.encode()) is not None
    new = await open_keys(store, tmp_path)
    tokens = AdminTokens(store, new.adoption, new.digester)
    assert await tokens.verify(issued.token.encode()) is not None
    assert len(await tokens.list()) == 1


async def test_a_revoked_first_token_stays_revoked_over_a_new_pepper(store: Store, tmp_path: Path) -> None:
    """Its file is still there at each start of the change: with the old pepper, with both, with the new one."""
    file = tmp_path / "admin-token"
    old = await open_keys(store, tmp_path, pepper=OLDER_PEPPER)
    tokens = AdminTokens(store, old.adoption, old.digester)
    await tokens.ensure_first(file)
    await tokens.revoke((await tokens.list())[0].id)
    await tokens.create("alice", "admin")
    for pepper in ({"previous": OLDER_PEPPER}, {}):
        keys = await open_keys(store, tmp_path, **pepper)
        tokens = AdminTokens(store, keys.adoption, keys.digester)
        await tokens.ensure_first(file)
        # Not asked with: that would move it too, and nobody does.
        assert [one.name for one in await tokens.list()] == ["alice"]
    assert await tokens.verify(file.read_bytes()) is None


async def test_a_first_token_that_moves_to_a_new_pepper_can_be_revoked_meanwhile(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "admin-token"
    old = await open_keys(store, tmp_path, pepper=OLDER_PEPPER)
    await AdminTokens(store, old.adoption, old.digester).ensure_first(file)
    await AdminTokens(store, old.adoption, old.digester).create("alice", "admin")
    both = await open_keys(store, tmp_path, previous=OLDER_PEPPER)
    starting, revoking = (AdminTokens(store, both.adoption, both.digester) for _ in range(2))
    read = AdminTokens._find

    async def found(self: AdminTokens, token: bytes) -> Any:
        known = await read(self, token)
        for living in await revoking.list():
            if living.name == "first":
                await revoking.revoke(living.id)
        return known

    monkeypatch.setattr(AdminTokens, "_find", found)
    await starting.ensure_first(file)
    monkeypatch.undo()
    new = await open_keys(store, tmp_path)
    tokens = AdminTokens(store, new.adoption, new.digester)
    await tokens.ensure_first(file)
    assert await tokens.verify(file.read_bytes()) is None


async def test_a_revocation_is_not_undone_by_a_new_pepper(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is in use while it is revoked, for the first time under the new pepper."""
    old = await open_keys(store, tmp_path, pepper=OLDER_PEPPER)
    issued = await AdminTokens(store, old.adoption, old.digester).create("a", "admin")
    new = await open_keys(store, tmp_path, previous=OLDER_PEPPER)
    used, revoking = (AdminTokens(store, new.adoption, new.digester) for _ in range(2))
    read = AdminTokens._find

    async def found(self: AdminTokens, token: bytes) -> Any:
        known = await read(self, token)
        if self is used and (await revoking.list()):
            await revoking.revoke(issued.record.id)
        return known

    monkeypatch.setattr(AdminTokens, "_find", found)
    assert await used.verify(issued.token.encode()) is None
    monkeypatch.undo()
    assert await used.verify(issued.token.encode()) is None
    assert await used.list() == ()


async def test_a_token_that_moves_to_a_new_pepper_can_be_revoked_meanwhile(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await open_keys(store, tmp_path, pepper=OLDER_PEPPER)
    issued = await AdminTokens(store, old.adoption, old.digester).create("a", "admin")
    new = await open_keys(store, tmp_path, previous=OLDER_PEPPER)
    used, revoking = (AdminTokens(store, new.adoption, new.digester) for _ in range(2))
    read = AdminTokens._all

    async def every(self: AdminTokens) -> Any:
        known = await read(self)
        await used.verify(issued.token.encode())
        return known

    monkeypatch.setattr(AdminTokens, "_all", every)
    await revoking.revoke(issued.record.id)
    monkeypatch.undo()
    assert await used.verify(issued.token.encode()) is None
    assert await used.list() == ()


def _raw(token_id: str, **members: object) -> bytes:
    """A record as a version writes it that knows of one more role."""
    plain = {"id": token_id, "name": "newer", "role": "auditor", "hint": "sat_…", "created_at": 5.0}
    return msgspec.json.encode(plain | members)


UNREADABLE = {"newer": _raw("sat_newer"), "garbage": b"{", "list": b"[]", "nested": b"[" * 100_000, "bytes": b"\xff"}


@pytest.mark.parametrize("raw", UNREADABLE.values(), ids=list(UNREADABLE))
async def test_a_record_that_cannot_be_read_stands_in_nobodys_way(
    tokens: AdminTokens, keys: Keys, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await keys.store.call("HSET", names.ADMIN_TOKENS, "some-digest", raw)
    first = (await tokens.create("a", "viewer")).record
    keys.clock.now += 1
    second = (await tokens.create("b", "viewer")).record
    assert await tokens.list() == (first, second)
    assert await tokens.get(second.id) == second
    assert (await tokens.revoke(first.id)).id == first.id
    assert await tokens.list() == (second,)
    with pytest.raises(UnknownAdminToken):
        await tokens.revoke("sat_nothing")
    assert caplog.text.count("cannot be read") == 1
    assert "some-digest" not in caplog.text


async def test_a_token_whose_record_cannot_be_read_opens_nothing(tokens: AdminTokens, keys: Keys) -> None:
    issued = await tokens.create("a", "admin")
    (digest,) = await keys.store.call("HKEYS", names.ADMIN_TOKENS)
    await keys.store.call("HSET", names.ADMIN_TOKENS, digest, _raw(issued.record.id))
    assert await tokens.verify(issued.token.encode()) is None
    assert await tokens.get(issued.record.id) is None


async def test_a_token_whose_record_cannot_be_read_can_be_revoked(tokens: AdminTokens, keys: Keys) -> None:
    admin = await tokens.create("a", "admin")
    await keys.store.call("HSET", names.ADMIN_TOKENS, "some-digest", _raw("sat_newer", scope=["audit"]))
    revoked = await tokens.revoke("sat_newer", keep_an_admin=True)
    assert (revoked.id, revoked.name, revoked.role, revoked.revoked_at) == ("sat_newer", "newer", "viewer", keys.clock.now)
    # What the newer version wrote stays as it is, for the newer version to read.
    kept = msgspec.json.decode(await keys.store.call("HGET", names.ADMIN_TOKENS, "some-digest"))
    assert (kept["role"], kept["scope"], kept["revoked_at"]) == ("auditor", ["audit"], keys.clock.now)
    with pytest.raises(UnknownAdminToken):
        await tokens.revoke("sat_newer")
    assert [token.id for token in await tokens.list()] == [admin.record.id]


async def test_of_the_last_two_admins_one_stays_whoever_revokes_at_a_time(tokens: AdminTokens) -> None:
    await tokens.create("reader", "viewer")
    issued = [await tokens.create(name, "admin") for name in ("a", "b")]
    ends = await asyncio.gather(*(tokens.revoke(one.record.id, keep_an_admin=True) for one in issued), return_exceptions=True)
    assert sorted(isinstance(end, LastAdminToken) for end in ends) == [False, True]
    assert sorted(token.role for token in await tokens.list()) == ["admin", "viewer"]


def test_roles_include_the_lesser_ones() -> None:
    allowed = {(role, needed) for role, needed in itertools.product(ROLES, ROLES) if may(role, needed)}
    assert allowed == {("viewer", "viewer"), ("operator", "viewer"), ("operator", "operator"), *(("admin", role) for role in ROLES)}


@pytest.mark.parametrize("noted", ["", "x", "nan", "inf", "\x80"])
async def test_a_use_that_cannot_be_read_hides_no_token(tokens: AdminTokens, keys: Keys, noted: str) -> None:
    token = await tokens.create("a", "viewer")
    await keys.store.call("HSET", names.ADMIN_TOKENS_USED, token.record.id, noted)
    assert [(known.id, known.last_used_at) for known in await tokens.list()] == [(token.record.id, None)]
