"""Cache, lease and store together, with real servers that freeze, die, forget and fall silent.

The promise: a revoked key is dead within 50 ms when all is well, within 2 s whatever breaks, and a
store that cannot be asked never makes a key unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from sidecar.keys.adoption import Adoption
from sidecar.keys.cache import MISS, KeyCache
from sidecar.keys.digest import imported_digest
from sidecar.keys.lease import RETRY_AFTER, Lease
from sidecar.keys.lookup import ANSWER_WITHIN, Lookup, SeenRevocations
from sidecar.keys.reader import Found, KeyReader
from sidecar.keys.record import Secret, secret_is_live, status
from sidecar.keys.token import generate
from sidecar.settings import declaration
from sidecar.settings.values import StoreUrl
from sidecar.store import names
from sidecar.store.client import Store, StoreNotAdopted, StoreUnavailable, connect
from tests.support.keys import PEPPER, Keys, open_keys, shape
from tests.support.store import Link, Server, until

BOUND = 2.0
MAX_STALE = 6.0
"""Seconds that leave a busy machine the time to notice the end of the lease first."""

PATIENT = 5.0
"""Seconds for a look-up: on a busy machine a store that is well may take longer than ANSWER_WITHIN."""


@dataclass
class Worker:
    """What a worker has: its own connections, cache and lease."""

    store: Store
    lookup: Lookup
    lease: Lease
    cache: KeyCache
    changes: list[str | None] = field(default_factory=list)

    async def ask(self, token: str) -> Found | None:
        answer = self.lookup.cached(token.encode())
        return await self.lookup.resolve(token.encode()) if answer is MISS else answer

    async def admits(self, token: str) -> bool:
        """Whether a request with `token` would be let through; an outage lets nothing through."""
        try:
            found = await self.ask(token)
        except StoreUnavailable:
            return False
        return found is not None and status(found.key, time.time()) == "active"

    def is_fresh(self) -> bool:
        return self.lease.fresh()


@contextlib.asynccontextmanager
async def worker(
    settings: declaration.Store, data_dir: Path, keys: Keys, *, max_stale: float = 0.0, answer_within: float = PATIENT
) -> AsyncIterator[Worker]:
    store = await connect(settings, data_dir)
    cache = KeyCache(1000)
    adoption = Adoption(data_dir / "store-epoch", PEPPER)
    changes: list[str | None] = []
    lease = Lease(store, adoption, cache, changes.append)
    lookup = Lookup(KeyReader(store, adoption), cache, lease, keys.digester, max_stale=max_stale, answer_within=answer_within)
    task = asyncio.create_task(lease.run())
    try:
        yield Worker(store, lookup, lease, cache, changes)
    finally:
        task.cancel()
        await asyncio.wait([task])
        await store.close()


@pytest.fixture
async def keys(store: Store, tmp_path: Path) -> Keys:
    return await open_keys(store, tmp_path)


@pytest.fixture
async def link(valkey: Server) -> AsyncIterator[Link]:
    link = Link(valkey)
    await link.start()
    yield link
    await link.close()


async def test_a_cached_key_costs_no_question(valkey: Server, keys: Keys, tmp_path: Path) -> None:
    issued = await keys.repository.create(shape())
    async with worker(valkey.settings(), tmp_path, keys) as one:
        await until(one.is_fresh)
        assert one.lookup.cached(issued.token.encode()) is MISS
        found = await one.ask(issued.token)
        assert found is not None
        assert found.key == issued.key
        assert one.lookup.cached(issued.token.encode()) == found
        assert await one.ask("ahk_nonsense") is None
        assert one.lookup.cached(b"x" * 100_000) is None
        assert one.lookup.cached(issued.token[:-1].encode()) is None, "what cannot be a key is nobody's, and nobody has to wait"
        assert one.lookup.cached(generate("ahk").encode()) is MISS
        assert one.changes == [None]


async def test_after_the_machine_slept_nothing_is_served_before_it_was_asked(
    valkey: Server, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = await keys.repository.create(shape())
    async with worker(valkey.settings(), tmp_path, keys) as one:
        await until(one.is_fresh)
        assert await one.admits(issued.token)
        assert one.lookup.cached(issued.token.encode()) is not MISS
        # A machine that wakes up: the time since it started has gone on, and that for which it ran has not.
        now, slept = time.clock_gettime, {time.CLOCK_BOOTTIME: 3600.0}
        monkeypatch.setattr(time, "clock_gettime", lambda clock: now(clock) + slept.get(clock, 0.0))
        assert one.lease.age() > 3600.0
        assert one.lookup.cached(issued.token.encode()) is MISS
        await until(one.is_fresh)
        assert one.lookup.cached(issued.token.encode()) is not MISS


async def test_a_revoked_key_is_dead_within_50_ms_everywhere(valkey: Server, keys: Keys, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(worker(valkey.settings(), tmp_path, keys)) for _ in range(4)]
        for one in workers:
            await until(one.is_fresh)
        took: list[float] = []
        # The promise is 50 ms on a machine that has time for it.
        while not took or min(took) > 0.05:
            assert len(took) < 30, took
            issued = await keys.repository.create(shape())
            for one in workers:
                assert await one.admits(issued.token)
                assert one.lookup.cached(issued.token.encode()) is not MISS
            begin = time.monotonic()
            revoking = asyncio.create_task(keys.repository.revoke(issued.key.id))
            await asyncio.gather(*(refused(one, issued.token) for one in workers))
            took.append(time.monotonic() - begin)
            await revoking
            assert all(issued.key.id in one.changes for one in workers)


async def refused(one: Worker, token: str) -> None:
    """Wait until `token` is no longer let through."""
    await until(lambda: _is(one.admits(token), False))


async def _is(awaitable: Any, wanted: bool) -> bool:
    return bool(await awaitable) is wanted


async def test_a_new_key_is_known_at_once_although_it_was_unknown(
    valkey: Server, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.keys.cache.ABSENT_FOR", 3600.0)
    sha = keys.digester
    async with worker(valkey.settings(), tmp_path, keys) as one:
        await until(one.is_fresh)
        issued = await keys.repository.create(shape())
        digest = sha.primary(issued.token.encode())
        await keys.store.call("RENAME", names.digest(digest), "elsewhere")
        await until(lambda: _is(_absent(one, issued.token), True))
        await keys.store.call("RENAME", "elsewhere", names.digest(digest))
        # Remembered as unknown, it would be refused for an hour.
        await until(lambda: one.admits(issued.token))


async def _absent(one: Worker, token: str) -> bool:
    await one.ask(token)
    return one.lookup.cached(token.encode()) is None


async def test_a_revocation_is_seen_behind_a_black_hole(valkey: Server, keys: Keys, link: Link, tmp_path: Path) -> None:
    issued = await keys.repository.create(shape())
    async with worker(link.settings(), tmp_path, keys) as one:
        await until(one.is_fresh)
        assert await one.admits(issued.token)
        link.black_hole()
        await keys.repository.revoke(issued.key.id)
        await until(lambda: _is(one.admits(issued.token), False), within=BOUND)
        link.heal()
        await until(one.is_fresh)
        found = await one.ask(issued.token)
        assert found is not None
        assert found.key.revoked_at is not None


async def test_only_the_reports_fall_silent(valkey: Server, keys: Keys, link: Link, tmp_path: Path) -> None:
    """The link that answers look-ups is fine, the one that reports changes is not."""
    issued = await keys.repository.create(shape())
    other = await keys.repository.create(shape())
    silent = await connect(link.settings(), tmp_path)
    async with worker(valkey.settings(), tmp_path, keys) as one:
        lease = Lease(silent, Adoption(tmp_path / "store-epoch", PEPPER), one.cache, one.changes.append)
        lookup = Lookup(KeyReader(one.store, keys.adoption), one.cache, lease, keys.digester)
        mixed = Worker(one.store, lookup, lease, one.cache)
        task = asyncio.create_task(lease.run())
        one.lease._changed = lambda changed: None  # type: ignore[method-assign]  # the healthy lease is deaf in this test
        await until(mixed.is_fresh)
        await mixed.admits(issued.token)
        link.black_hole()
        await keys.repository.revoke(issued.key.id)
        await until(lambda: _is(mixed.admits(issued.token), False), within=BOUND)
        assert await mixed.admits(other.token), "everybody else is served by asking"
        task.cancel()
        await asyncio.wait([task])
        await silent.close()


async def test_a_frozen_store_refuses_and_recovers(valkey: Server, keys: Keys, tmp_path: Path) -> None:
    issued = await keys.repository.create(shape())
    async with worker(valkey.settings(), tmp_path, keys, answer_within=ANSWER_WITHIN) as one:
        await until(one.is_fresh)
        assert await one.admits(issued.token)
        valkey.freeze()
        try:
            assert await one.admits(issued.token), "a remembered key goes on for a moment"
            await until(lambda: _is(one.admits(issued.token), False), within=BOUND)
            with pytest.raises(StoreUnavailable):
                await one.ask(issued.token)
        finally:
            valkey.thaw()
        await until(lambda: one.admits(issued.token))
        await until(one.is_fresh)


async def test_a_killed_store_refuses_and_recovers(valkey: Server, keys: Keys, tmp_path: Path) -> None:
    issued = await keys.repository.create(shape())
    await keys.store.durable()
    async with worker(valkey.settings(), tmp_path, keys) as one:
        await until(one.is_fresh)
        assert await one.admits(issued.token)
        valkey.kill()
        await until(lambda: _is(one.admits(issued.token), False), within=BOUND)
        valkey.start()
        await until(lambda: one.admits(issued.token))
        await until(one.is_fresh)
        assert one.changes.count(None) == 2, "whatever changed meanwhile was not seen"


async def test_an_outage_makes_no_key_unknown(valkey: Server, keys: Keys, tmp_path: Path) -> None:
    issued = await keys.repository.create(shape())
    async with worker(valkey.settings(), tmp_path, keys) as one:
        await until(one.is_fresh)
        valkey.kill()
        await until(lambda: not one.is_fresh())
        for _ in range(50):
            with pytest.raises(StoreUnavailable):
                await one.ask(issued.token)
            assert one.lookup.cached(issued.token.encode()) is MISS


async def test_what_cannot_be_a_key_is_refused_without_asking_the_store(valkey: Server, keys: Keys, tmp_path: Path) -> None:
    """Mistyped, cut short, of another form: nobody waits for it, and a store that is away makes no 503 of it."""
    async with worker(valkey.settings(), tmp_path, keys) as one:
        await until(one.is_fresh)
        valkey.kill()
        token = generate("ahk")
        swapped = token[:10] + token[11] + token[10] + token[12:] if token[10] != token[11] else token[:-1] + "_"
        for wrong in (swapped, token[:-1], f"{token}0", "sk-proj-0123456789", generate("sat")):
            assert await one.lookup.resolve(wrong.encode()) is None
        with pytest.raises(StoreUnavailable):
            await one.lookup.resolve(token.encode())


async def test_an_emptied_store_is_an_outage(valkey: Server, keys: Keys, tmp_path: Path) -> None:
    issued = await keys.repository.create(shape())
    async with worker(valkey.settings(), tmp_path, keys, max_stale=300.0) as one:
        await until(one.is_fresh)
        assert await one.admits(issued.token)
        valkey.command("FLUSHALL")
        await until(lambda: _is(one.admits(issued.token), False), within=BOUND)
        with pytest.raises(StoreNotAdopted):
            await one.ask(issued.token)
        await until(lambda: not one.is_fresh())
        await Adoption(tmp_path / "store-epoch", PEPPER).adopt(keys.store)
        await until(one.is_fresh)
        assert await one.ask(issued.token) is None


async def test_serve_cached_goes_on_with_what_is_remembered(valkey: Server, keys: Keys, tmp_path: Path) -> None:
    issued = await keys.repository.create(shape())
    stranger = await keys.repository.create(shape())
    async with worker(valkey.settings(), tmp_path, keys, max_stale=MAX_STALE, answer_within=ANSWER_WITHIN) as one:
        await until(one.is_fresh)
        assert await one.admits(issued.token)
        valkey.freeze()
        try:
            await until(lambda: not one.is_fresh())
            assert await one.admits(issued.token)
            assert not await one.admits(stranger.token)
            assert one.cache.counters["stale"] >= 1
            await until(lambda: _is(one.admits(issued.token), False), within=MAX_STALE)
        finally:
            valkey.thaw()


async def test_what_is_remembered_lasts_until_the_store_can_be_asked_again(
    valkey: Server, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reports of changes may come back before questions are answered; forgetting then would leave nothing to serve."""
    issued = await keys.repository.create(shape())
    async with worker(valkey.settings(), tmp_path, keys, max_stale=60.0) as one:
        await until(one.is_fresh)
        assert await one.admits(issued.token)

        async def away(*_: Any) -> Any:
            raise StoreUnavailable("away")

        with monkeypatch.context() as during:
            during.setattr(one.store, "call", away)
            during.setattr(one.store, "pipeline", away)
            valkey.restart()
            begun = time.monotonic()
            while time.monotonic() < begun + 1.0:
                assert await one.admits(issued.token)
                await asyncio.sleep(0.01)
        await until(one.is_fresh)
        await until(lambda: one.admits(issued.token))


async def test_callers_of_one_token_share_a_question(valkey: Server, keys: Keys, tmp_path: Path) -> None:
    issued = await keys.repository.create(shape())
    async with worker(valkey.settings(), tmp_path, keys) as one:
        await until(one.is_fresh)
        before = await keys.store.call("INFO", "commandstats")
        answers = await asyncio.gather(*(one.ask(issued.token) for _ in range(100)))
        assert all(answer is not None for answer in answers)
        after = await keys.store.call("INFO", "commandstats")
        assert _calls(after, b"get") - _calls(before, b"get") == 1


def _calls(info: bytes, command: bytes) -> int:
    line = next((line for line in info.splitlines() if line.startswith(b"cmdstat_" + command + b":")), b"calls=0,")
    return int(line.partition(b"calls=")[2].partition(b",")[0])


async def test_a_question_is_not_shared_with_whoever_asks_after_a_change(valkey: Server, keys: Keys, tmp_path: Path) -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    async with worker(valkey.settings(), tmp_path, keys) as one:
        await until(one.is_fresh)
        issued = await keys.repository.create(shape())
        find_first = KeyReader.find_first

        async def late(digests: list[str], *, prove: bool = False) -> Found | None:
            found = await find_first(reader, digests, prove=prove)
            if not asked.is_set():
                asked.set()
                await release.wait()
            return found

        reader = one.lookup._reader
        reader.find_first = late  # type: ignore[method-assign]
        early = asyncio.create_task(one.lookup.resolve(issued.token.encode()))
        await asked.wait()
        await keys.repository.revoke(issued.key.id)
        await until(lambda: issued.key.id in one.changes)
        found = await one.lookup.resolve(issued.token.encode())
        assert found is not None and found.key.revoked_at is not None
        release.set()
        await early


async def test_a_caller_that_leaves_takes_nobody_along(valkey: Server, keys: Keys, tmp_path: Path) -> None:
    issued = await keys.repository.create(shape())
    async with worker(valkey.settings(), tmp_path, keys) as one:
        first = asyncio.create_task(one.lookup.resolve(issued.token.encode()))
        second = asyncio.create_task(one.lookup.resolve(issued.token.encode()))
        await asyncio.sleep(0)
        first.cancel()
        assert await second is not None


async def test_thousands_of_changes_between_two_heartbeats(valkey: Server, keys: Keys, tmp_path: Path) -> None:
    async with worker(valkey.settings(), tmp_path, keys) as one:
        await until(one.is_fresh)
        for start in range(0, 5000, 1000):
            await keys.store.pipeline([("SET", names.digest(f"bulk{number}"), "key_x") for number in range(start, start + 1000)])
        await keys.store.call("SET", names.key("marker"), "x")
        await until(lambda: "marker" in one.changes)
        assert one.changes.count(None) == 1


async def test_a_revocation_that_a_failover_lost_stays_in_force_here(valkey: Server, keys: Keys, tmp_path: Path) -> None:
    issued = await keys.repository.create(shape())
    before = await keys.store.call("HGETALL", names.key(issued.key.id))
    async with worker(valkey.settings(), tmp_path, keys) as one:
        await until(one.is_fresh)
        await keys.repository.revoke(issued.key.id)
        assert not await one.admits(issued.token)
        await keys.store.call("HSET", names.key(issued.key.id), *(part for pair in before.items() for part in pair))
        for _ in range(3):
            assert not await one.admits(issued.token)
            current = await one.lookup.current(issued.key.id)
            assert current is not None
            assert current.revoked_at is not None


@pytest.mark.parametrize("how", ["rotated at once", "overlap ended"])
async def test_a_secret_whose_end_a_failover_lost_stays_ended_here(valkey: Server, keys: Keys, tmp_path: Path, how: str) -> None:
    issued = await keys.repository.create(shape())
    key_id, leaked = issued.key.id, issued.key.secrets[0].id
    if how == "overlap ended":
        await keys.repository.rotate(key_id, 3600.0)
    before = await keys.store.call("HGETALL", names.key(key_id))
    async with worker(valkey.settings(), tmp_path, keys) as one:
        one.lookup._seen_revocations._clock = keys.clock
        await until(one.is_fresh)
        await (keys.repository.rotate(key_id, 0.0) if how == "rotated at once" else keys.repository.end_secret(key_id, leaked))
        token = issued.token.encode()
        found = await one.lookup.resolve(token)
        assert found is not None and not secret_is_live(found.secret, keys.clock())
        await keys.store.call("HSET", names.key(key_id), *(part for pair in before.items() for part in pair))
        await until(lambda: one.lookup.cached(token) is MISS)
        for _ in range(2):
            found = await one.lookup.resolve(token)
            assert found is not None and not secret_is_live(found.secret, keys.clock())
            current = await one.lookup.current(key_id)
            assert current is not None and found.secret in current.secrets
            assert [secret.id for secret in current.secrets if secret_is_live(secret, keys.clock())] == (
                [] if how == "rotated at once" else [current.secrets[0].id]
            )


def test_ended_secrets_are_remembered_for_a_day_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.keys.lookup.MOST_REMEMBERED", 2)
    now = [1000.0]
    seen = SeenRevocations(clock=lambda: now[0])
    secret = Secret("sec_1", "digest", "pepper", "hint", 1.0)
    fallen_back, ended = shape(secrets=(secret,)), shape(secrets=(replace(secret, state="revoked", expires_at=1000.0),))
    assert seen.judge(fallen_back) is fallen_back
    assert seen.judge(ended) is ended
    assert seen.judge(replace(fallen_back, name="another")) == replace(ended, name="another")
    for other in ("key_a", "key_b"):
        assert seen.judge(fallen_back) == ended
        seen.judge(replace(ended, id=other))
    seen.judge(replace(ended, id="key_c"))
    assert seen.judge(fallen_back) is fallen_back
    assert seen.judge(ended) is ended
    now[0] += 86_400
    assert seen.judge(fallen_back) is fallen_back
    assert seen.judge(ended) is ended, "long ago"
    assert seen.judge(fallen_back) is fallen_back


def test_seen_revocations_are_kept_for_a_day_and_bounded() -> None:
    now = [1000.0]
    seen = SeenRevocations(clock=lambda: now[0])
    alive = shape("a")
    dead = shape("a", revoked_at=1000.0)
    assert seen.judge(alive) is alive
    assert seen.judge(dead) is dead
    assert seen.judge(alive).revoked_at == 1000.0
    now[0] += 86_400
    assert seen.judge(alive) is alive


async def test_an_imported_token_is_known_at_once_although_it_was_refused(valkey: Server, store: Store, tmp_path: Path) -> None:
    """It is in use already: a refusal that is remembered by another of its digests would outlast the import."""
    keys = await open_keys(store, tmp_path, accept_imported=True)
    async with worker(valkey.settings(), tmp_path, keys) as one:
        await until(one.is_fresh)
        for number in range(5):
            token = f"sk-in-use-{number}"
            await until(lambda token=token: _is(_absent(one, token), True))
            key = await keys.repository.import_key(shape(), imported_digest(token.encode()), "h")
            await until(lambda key=key: key.id in one.changes)
            assert await one.admits(token)


async def test_a_store_that_reports_no_changes_is_told_once(
    valkey: Server, keys: Keys, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    issued = await keys.repository.create(shape())
    await keys.store.call("ACL", "SETUSER", "limited", "on", ">canary", "~*", "&*", "+@all", "-client|tracking")
    settings = declaration.Store(url=StoreUrl(f"unix://limited:canary@{valkey.socket}"))
    async with worker(settings, tmp_path, keys) as one:
        await until(lambda: "no reports of key changes" in caplog.text)
        assert await one.admits(issued.token)
        await asyncio.sleep(3 * RETRY_AFTER)
    assert [record.levelname for record in caplog.records if "no reports" in record.message].count("WARNING") == 1
