"""The life of keys on a real store."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from sidecar.keys.digest import Digester, digest
from sidecar.keys.record import Key, Limits, status
from sidecar.keys.rehash import Rehasher
from sidecar.keys.repository import (
    PUT_KEY,
    AlreadyImported,
    KeyIsNewer,
    KeyIsRevoked,
    KeyRepository,
    RevisionConflict,
    UnknownKey,
)
from sidecar.keys.token import is_well_formed
from sidecar.keys.use import SecretUse
from sidecar.store import names
from sidecar.store.client import Store, StoreNotAdopted, StoreUnavailable
from tests.support.keys import OLDER_PEPPER, PEPPER, Keys, change, open_keys, shape
from tests.support.store import Server


@pytest.fixture
async def keys(store: Store, tmp_path: Path) -> Keys:
    return await open_keys(store, tmp_path)


async def test_a_created_key_is_found_by_its_token(keys: Keys) -> None:
    issued = await keys.repository.create(shape("app", owner="team", limits=Limits(rpm=5), allowed_models=()))
    assert is_well_formed(issued.token.encode(), "ahk")
    assert issued.token not in repr(issued)
    found = await keys.repository.find_first([keys.digester.primary(issued.token.encode())])
    assert found is not None
    assert found.key == issued.key
    assert found.secret == issued.key.secrets[0]
    assert await keys.repository.get(issued.key.id) == issued.key
    assert await keys.repository.identify(issued.token.encode()) == found
    assert await keys.repository.find_first(["0" * 64]) is None
    assert await keys.repository.get("key_nothing") is None


async def test_the_store_holds_no_token(keys: Keys, valkey: Server) -> None:
    issued = await keys.repository.create(shape())
    rotated = await keys.repository.rotate(issued.key.id, 60.0)
    await keys.store.durable()
    log = b"".join(path.read_bytes() for path in valkey.directory.rglob("*") if path.is_file())
    assert issued.key.id.encode() in log
    for token in (issued.token, rotated.token):
        assert token.encode() not in log
        assert hashlib.sha256(token.encode()).hexdigest().encode() not in log


async def test_update_and_its_conflicts(keys: Keys) -> None:
    key = (await keys.repository.create(shape())).key
    second = await keys.repository.update(key.id, change(name="other"), expected_revision=1)
    assert (second.name, second.revision) == ("other", 2)
    with pytest.raises(RevisionConflict) as caught:
        await keys.repository.update(key.id, change(name="late"), expected_revision=1)
    assert caught.value.revision == 2
    assert await keys.repository.update(key.id, change(name="other")) == second, "no change, no revision"
    with pytest.raises(UnknownKey):
        await keys.repository.update("key_nothing", change(name="x"))


async def test_concurrent_changes_all_stand(keys: Keys) -> None:
    key = (await keys.repository.create(shape())).key

    async def tag(number: int) -> None:
        await keys.repository.update(key.id, lambda before: replace(before, tags=(*before.tags, str(number))))

    await asyncio.gather(*(tag(number) for number in range(8)))
    after = await keys.repository.get(key.id)
    assert after is not None
    assert sorted(after.tags) == [str(number) for number in range(8)]
    assert after.revision == 9


async def test_revoke_is_final_and_repeatable(keys: Keys) -> None:
    issued = await keys.repository.create(shape())
    revoked = await keys.repository.revoke(issued.key.id)
    assert revoked.durable
    assert status(revoked.key, keys.clock()) == "revoked"
    assert (await keys.repository.revoke(issued.key.id)).key == revoked.key
    for disabled in (False, True):
        with pytest.raises(KeyIsRevoked):
            await keys.repository.update(issued.key.id, change(disabled=disabled))
    with pytest.raises(KeyIsRevoked):
        await keys.repository.rotate(issued.key.id, 60.0)
    found = await keys.repository.find_first([keys.digester.primary(issued.token.encode())])
    assert found is not None, "so that its user can be told"
    assert found.key.revoked_at is not None
    with pytest.raises(UnknownKey):
        await keys.repository.revoke("key_nothing")


async def test_a_late_writer_cannot_bring_a_revoked_key_back(keys: Keys) -> None:
    key = (await keys.repository.create(shape())).key

    def revoke_meanwhile(before: Key) -> Key:
        interleaved.append(asyncio.ensure_future(keys.repository.revoke(key.id)))
        return replace(before, name="late")

    interleaved: list[asyncio.Future[Any]] = []
    original = keys.store.pipeline
    # The revocation happens between this writer's reading and its writing.

    async def pipeline(commands: Any) -> Any:
        if interleaved:
            await interleaved[0]
        return await original(commands)

    late = KeyRepository(_Interposed(keys.store, pipeline), keys.adoption, keys.digester, clock=keys.clock)  # type: ignore[arg-type]
    with pytest.raises(KeyIsRevoked):
        await late.update(key.id, revoke_meanwhile)
    after = await keys.repository.get(key.id)
    assert after is not None
    assert after.revoked_at is not None
    assert after.name == "app"


class _Interposed:
    """A store whose pipelines go through a function."""

    def __init__(self, store: Store, pipeline: Any) -> None:
        self._store = store
        self.pipeline = pipeline

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_even_a_writer_of_raw_records_cannot_unrevoke(keys: Keys) -> None:
    key = (await keys.repository.create(shape())).key
    revoked = (await keys.repository.revoke(key.id)).key
    from_script = await keys.store.run(
        PUT_KEY, [names.key(key.id)], [revoked.revision, msgspec.json.encode(key), revoked.revision + 1, "0"]
    )
    assert from_script == -2


async def test_rotation_keeps_the_identity(keys: Keys) -> None:
    first = await keys.repository.create(shape("app", limits=Limits(rpm=5)))
    second = await keys.repository.rotate(first.key.id, 3600.0)
    assert (second.key.id, second.key.limits) == (first.key.id, first.key.limits)
    for issued in (first, second):
        found = await keys.repository.identify(issued.token.encode())
        assert found is not None
        assert found.key == second.key
    old = await keys.repository.identify(first.token.encode())
    assert old is not None
    assert old.secret.state == "retiring"
    ended = await keys.repository.end_secret(first.key.id, old.secret.id)
    assert ended.secrets[1].state == "revoked"


async def test_forgotten_secrets_leave_no_digest(keys: Keys) -> None:
    issued = [await keys.repository.create(shape())]
    for _ in range(10):
        issued.append(await keys.repository.rotate(issued[0].key.id, 0.0))
    assert await keys.repository.identify(issued[0].token.encode()) is None
    assert await keys.store.call("EXISTS", names.digest(keys.digester.primary(issued[0].token.encode()))) == 0
    newest = await keys.repository.identify(issued[-1].token.encode())
    assert newest is not None
    assert newest.secret.state == "current"


async def test_disable_and_enable(keys: Keys) -> None:
    key = (await keys.repository.create(shape())).key
    assert status(await keys.repository.update(key.id, change(disabled=True)), 0.0) == "disabled"
    assert status(await keys.repository.update(key.id, change(disabled=False)), 0.0) == "active"


async def test_a_newer_record_is_left_alone(keys: Keys) -> None:
    key = (await keys.repository.create(shape())).key
    newer = msgspec.json.encode({**msgspec.to_builtins(key), "version": 2, "new_rule": True})
    await keys.store.call("HSET", names.key(key.id), "record", newer)
    with pytest.raises(KeyIsNewer):
        await keys.repository.update(key.id, change(disabled=True))
    assert await keys.store.call("HGET", names.key(key.id), "record") == newer


async def test_fields_of_a_newer_minor_version_survive(keys: Keys) -> None:
    key = (await keys.repository.create(shape())).key
    await keys.store.call("HSET", names.key(key.id), "record", msgspec.json.encode({**msgspec.to_builtins(key), "colour": "red"}))
    await keys.repository.update(key.id, change(disabled=True))
    assert msgspec.json.decode(await keys.store.call("HGET", names.key(key.id), "record"))["colour"] == "red"


async def test_an_imported_secret_is_rehashed_on_use(store: Store, tmp_path: Path) -> None:
    keys = await open_keys(store, tmp_path, accept_imported=True)
    token = b"sk-from-elsewhere"
    sha256 = hashlib.sha256(token).hexdigest()
    key = await keys.repository.import_key(shape("imported"), sha256, "sk-…here")
    with pytest.raises(AlreadyImported) as caught:
        await keys.repository.import_key(shape("again"), sha256, "sk-…here")
    assert caught.value.key_id == key.id
    found = await keys.repository.find_first(keys.digester.candidates(token))
    assert found is not None
    rehasher = Rehasher(keys.repository, keys.digester)
    assert rehasher.is_due(found)
    await asyncio.gather(*(rehasher.rehash(found, token) for _ in range(3)))
    after = await keys.repository.find_first([digest(token, PEPPER)])
    assert after is not None
    assert not rehasher.is_due(after)
    assert after.key.secrets[0].pepper_id == PEPPER.id
    assert await store.call("EXISTS", names.digest(sha256)) == 0
    assert await keys.repository.identify(token) == after


async def test_two_imports_of_one_secret_leave_one_key_alive(keys: Keys) -> None:
    sha256 = hashlib.sha256(b"sk-x").hexdigest()
    results = await asyncio.gather(*(keys.repository.import_key(shape(str(n)), sha256, "h") for n in range(5)), return_exceptions=True)
    alive = [result for result in results if isinstance(result, Key)]
    assert len(alive) == 1
    found = await keys.repository.find_first([sha256])
    assert found is not None
    assert found.key.id == alive[0].id


async def test_a_pepper_is_followed_by_another(store: Store, tmp_path: Path) -> None:
    before = await open_keys(store, tmp_path, pepper=OLDER_PEPPER)
    issued = await before.repository.create(shape())
    after = await open_keys(store, tmp_path, previous=OLDER_PEPPER)
    token = issued.token.encode()
    found = await after.repository.find_first(after.digester.candidates(token))
    assert found is not None
    await Rehasher(after.repository, after.digester).rehash(found, token)
    alone = KeyRepository(store, after.adoption, Digester("ahk", PEPPER))
    assert await alone.find_first(Digester("ahk", PEPPER).candidates(token)) is not None


async def test_crashes_between_the_writes_are_harmless(keys: Keys) -> None:
    """Whatever prefix of a creation's writes has happened, the key is nobody's."""

    class Crash(Exception):
        pass

    for survive in range(3):
        left = survive

        async def counted(act: Any, *args: Any) -> Any:
            nonlocal left
            if not left:
                raise Crash
            left -= 1
            return await act(*args)

        crashing = _Interposed(keys.store, lambda *args: counted(keys.store.pipeline, *args))
        crashing.run = lambda *args: counted(keys.store.run, *args)  # type: ignore[attr-defined]
        repository = KeyRepository(crashing, keys.adoption, keys.digester)  # type: ignore[arg-type]
        before = set(await keys.store.call("KEYS", names.DIGEST_PREFIX + "*"))
        try:
            await repository.create(shape(f"crash{survive}"))
        except Crash:
            for entry in set(await keys.store.call("KEYS", names.DIGEST_PREFIX + "*")) - before:
                assert await keys.repository.find_first([entry.decode().removeprefix(names.DIGEST_PREFIX)]) is None


async def test_an_emptied_store_is_not_a_missing_key(keys: Keys) -> None:
    issued = await keys.repository.create(shape())
    await keys.store.call("FLUSHALL")
    for ask in (
        keys.repository.find_first(["0" * 64]),
        keys.repository.get(issued.key.id),
        keys.repository.identify(issued.token.encode()),
    ):
        with pytest.raises(StoreNotAdopted):
            await ask
    for act in (keys.repository.create(shape()), keys.repository.revoke(issued.key.id)):
        with pytest.raises(StoreNotAdopted):
            await act


async def test_a_dead_store_is_not_a_missing_key(keys: Keys, valkey: Server) -> None:
    valkey.kill()
    with pytest.raises(StoreUnavailable):
        await keys.repository.find_first(["0" * 64])


async def test_uses(keys: Keys) -> None:
    use = {"": [11, 1, [], []], "sec_1": [12.5, 3, ["10.0.0.0/24"], ["curl"], "what a newer version knows"]}
    await keys.store.call("HSET", names.use(names.shard_of("key_a")), "key_a", msgspec.msgpack.encode(use))
    uses = await keys.repository.uses(["key_a", "key_b"])
    assert set(uses) == {"key_a"}
    assert uses["key_a"].last_used_at == 12.5
    assert uses["key_a"].secrets == {"sec_1": SecretUse(12.5, 3, ("10.0.0.0/24",), ("curl",))}


async def test_an_entry_that_could_not_be_removed_is_told(keys: Keys, caplog: pytest.LogCaptureFixture) -> None:
    """In a cluster the part that holds it may be away while the key's own part answers."""
    token = b"sk-from-elsewhere"
    key = await keys.repository.import_key(shape(), hashlib.sha256(token).hexdigest(), "sk-…here")

    async def away(_: object) -> list[StoreUnavailable]:
        return [StoreUnavailable("away")]

    parted = _Interposed(keys.store, keys.store.pipeline)
    parted.run_many = away  # type: ignore[attr-defined]
    repository = KeyRepository(parted, keys.adoption, keys.digester)  # type: ignore[arg-type]
    found = await repository.identify(token)
    assert found is not None
    await Rehasher(repository, keys.digester).rehash(found, token)
    assert f"superfluous entries of {key.id}" in caplog.text
    assert await repository.identify(token) is not None
