"""The audit log on a real store: the chain, its pages, and what survives which death."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
from pathlib import Path

import msgspec
import pytest

from sidecar.control.audit import ACTIONS, ATTEMPTS, AuditLog, Change, Event, Filter, Journal, Party, Sealed, Source, Unchanged, draft
from sidecar.store import names
from sidecar.store.client import Store, StoreUnavailable
from tests.support.source import ROOT
from tests.support.store import Server, open_store, until
from tests.support.tools import require

ALICE = Party("admin_token", "adm_alice", "Alice")
NOW = 1_900_000_000.0


def event(action: str = "api_key.created", target: str = "key_1", now: float = NOW) -> Event:
    return draft(
        action, ALICE, now=now, target=Party("api_key", target), changes={"name": Change(None, "é=1")}, source=Source("::1", "curl")
    )


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "audit")


@pytest.fixture
def log(store: Store, journal: Journal) -> AuditLog:
    return AuditLog(store, journal, clock=lambda: NOW)


async def everything(log: AuditLog) -> list[Sealed]:
    return [sealed async for sealed in log.export(Filter())]


async def test_events_are_chained_and_can_be_checked_without_this_program(log: AuditLog) -> None:
    for number in range(3):
        await log.append(event(target=f"key_{number}"))
    verdict = await log.verify()
    assert (verdict.ok, verdict.events, verdict.broken_at) == (True, 3, None)
    before = "0" * 64
    for number, sealed in enumerate(await everything(log), start=1):
        plain = json.loads(msgspec.json.encode(sealed.event))
        assert (plain["sequence"], plain["prev_hash"]) == (number, before)
        before = hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()
        assert before == sealed.hash
    assert verdict.head_hash == before


async def test_many_writers_make_one_chain(store: Store, tmp_path: Path) -> None:
    logs = [AuditLog(store, Journal(tmp_path / str(number))) for number in range(3)]
    await asyncio.gather(*(log.append(event()) for log in logs for _ in range(10)))
    for log in logs:
        await log.settle()
    assert (await logs[0].verify()).events == 30
    assert len({sealed.event.id for sealed in await everything(logs[0])}) == 30


@pytest.mark.parametrize("tampering", ["change", "rehash", "remove", "insert", "cut", "rewrite"])
async def test_tampering_shows(log: AuditLog, store: Store, tampering: str) -> None:
    for number in range(5):
        await log.append(event(target=f"key_{number}"))
    await log.settle()
    entries = await store.call("XRANGE", names.AUDIT, "-", "+")
    _, (_, data, _, hash_) = entries[2]
    changed = data.replace(b"key_2", b"key_9")
    if tampering == "change":
        await replace(store, entries, {3: (changed, hash_)})
    elif tampering == "rehash":
        await replace(store, entries, {3: (changed, hashlib.sha256(changed).hexdigest().encode())})
    elif tampering == "remove":
        await store.call("XDEL", names.AUDIT, "3-0")
    elif tampering == "insert":
        await store.call("XADD", names.AUDIT, "6-0", "event", data, "hash", hash_)
    elif tampering == "cut":
        await store.call("XDEL", names.AUDIT, "5-0")
        await store.call("HSET", names.AUDIT_HEAD, "sequence", 4, "hash", entries[3][1][3])
    else:
        await store.call("DEL", names.AUDIT, names.AUDIT_HEAD)
        await log.append(event(target="key_1"))
    verdict = await log.verify()
    assert not verdict.ok
    assert verdict.broken_at == {"change": 3, "rehash": 4, "remove": 3, "insert": 6, "cut": 5, "rewrite": 2}[tampering]
    assert verdict.reason


async def replace(store: Store, entries: list[tuple[bytes, list[bytes]]], other: dict[int, tuple[bytes, bytes]]) -> None:
    await store.call("DEL", names.AUDIT)
    for number, (_, (_, data, _, hash_)) in enumerate(entries, start=1):
        data, hash_ = other.get(number, (data, hash_))
        await store.call("XADD", names.AUDIT, f"{number}-0", "event", data, "hash", hash_)


async def test_pages_and_filters(log: AuditLog) -> None:
    for number in range(7):
        await log.append(event("api_key.created" if number % 2 else "anomaly.muted", f"key_{number}", NOW + number))
    first = await log.query(Filter(), 3)
    second = await log.query(Filter(), 3, first.next_cursor)
    third = await log.query(Filter(), 3, second.next_cursor)
    pages = (first, second, third)
    assert [sealed.event.sequence for page in pages for sealed in page.events] == [7, 6, 5, 4, 3, 2, 1]
    assert third.next_cursor == ""
    assert (await log.query(Filter(), 3, "0")).events == ()
    assert (await log.query(Filter(), 3, "9999999999999999")).events == first.events

    async def found(wanted: Filter) -> list[int]:
        return [sealed.event.sequence for sealed in (await log.query(wanted, 100)).events]

    assert await found(Filter(action="api_key")) == [6, 4, 2]
    assert await found(Filter(action="api_key.created", target="key_3")) == [4]
    assert await found(Filter(start=NOW + 2, end=NOW + 4)) == [4, 3]
    assert await found(Filter(actor="adm_bob")) == []
    assert await found(Filter(outcome="denied")) == []


async def test_an_act_is_recorded_with_what_it_found_out(log: AuditLog, journal: Journal) -> None:
    async with log.act(event()) as act:
        act.on(Party("api_key", "key_new", "New"), {"rpm": Change(1, 2)})
    (sealed,) = await everything(log)
    assert (sealed.event.outcome, sealed.event.target) == ("success", Party("api_key", "key_new", "New"))
    await log.settle()
    assert journal.pending() == []
    assert journal.remembered() == (1, sealed.hash)


async def test_what_was_refused_leaves_nothing(log: AuditLog, journal: Journal) -> None:
    with pytest.raises(Unchanged):
        async with log.act(event()):
            raise Unchanged
    await log.settle()
    assert journal.pending() == []
    assert await everything(log) == []


async def test_no_act_while_no_record_can_be_written(log: AuditLog, valkey: Server, journal: Journal) -> None:
    valkey.kill()
    acted = False
    with pytest.raises(StoreUnavailable):
        async with log.act(event()):
            acted = True
    assert not acted
    assert journal.pending() == []


async def test_a_store_that_dies_during_the_act_gets_the_record_later(log: AuditLog, valkey: Server) -> None:
    async with log.act(event()):
        valkey.kill()
    valkey.start()
    await until(lambda: _settled(log))
    (sealed,) = await everything(log)
    assert sealed.event.outcome == "success"
    assert (await log.verify()).ok


async def test_a_death_in_the_act_is_recorded_as_unknown(store: Store, journal: Journal) -> None:
    before = AuditLog(store, journal)
    with pytest.raises(StoreUnavailable):
        async with before.act(event()):
            raise StoreUnavailable("lost in the middle")
    after = AuditLog(store, journal)
    await until(lambda: _settled(after))
    (sealed,) = await everything(after)
    assert sealed.event.outcome == "unknown"


async def test_a_death_after_the_append_repeats_nothing(store: Store, journal: Journal) -> None:
    await AuditLog(store, journal).append(event())
    after = AuditLog(store, journal)
    await until(lambda: _settled(after))
    assert len(await everything(after)) == 1


async def test_what_the_store_loses_in_a_crash_is_appended_again(log: AuditLog, store: Store) -> None:
    await log.append(event(target="key_1"))
    await log.settle()
    on_disk = [(name, await store.call("DUMP", name)) for name in (names.AUDIT, names.AUDIT_HEAD)]
    await log.append(event(target="key_2"))
    # A crash before the append-only file reached the disk takes the tail and the head back together.
    for name, dump in on_disk:
        await store.call("RESTORE", name, 0, dump, "REPLACE")
    await until(lambda: _settled(log))
    assert [sealed.event.target and sealed.event.target.id for sealed in await everything(log)] == ["key_1", "key_2"]
    assert (await log.verify()).ok


async def _settled(log: AuditLog) -> bool:
    await log.settle()
    return log.waiting == 0


async def test_a_full_disk_does_not_turn_a_refusal_into_a_failure(log: AuditLog, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "audit").rmdir()
    (tmp_path / "audit").write_text("no directory")
    await log.append(event("admin.authentication_failed"))
    assert len(await everything(log)) == 1
    assert "cannot be written" in caplog.text


EVERY_SECOND = ("redis", True, ("--appendfsync", "everysec"))


@pytest.mark.parametrize(("flavour", "append_only", "arguments"), [("valkey", False, ()), EVERY_SECOND], ids=["no disk", "everysec"])
async def test_a_store_that_cannot_tell_is_trusted_after_an_hour(
    tmp_path: Path, journal: Journal, flavour: str, append_only: bool, arguments: tuple[str, ...]
) -> None:
    """Also with its head: of a log that is cut or rewritten later, all looks whole but for that."""
    if flavour == "redis":
        require("redis-server", install="apt-get install redis-server")
    server = Server(tmp_path / "plain", flavour=flavour, append_only=append_only, arguments=arguments)
    server.start()
    try:
        store = await open_store(server)
        if await store.durable():
            pytest.skip("this server can tell what its disk has: only Redis before 7.2 cannot")
        now = NOW
        log = AuditLog(store, journal, clock=lambda: now)
        for later in (0, 10):
            await log.append(event(now=NOW + later))
        await log.settle()
        assert (log.waiting, journal.remembered()) == (2, (0, ""))
        verdict = await log.verify()
        assert verdict.ok and "no head of the log is known" in verdict.reason
        for later, waiting in ((3601, 1), (3611, 0)):
            now = NOW + later
            await log.settle()
            assert (log.waiting, journal.remembered()[0]) == (waiting, 2 - waiting)
        assert (await log.verify()).reason == ""
        assert len(await everything(log)) == 2

        entries = await store.call("XRANGE", names.AUDIT, "-", "+")
        await store.call("XDEL", names.AUDIT, "2-0")
        await store.call("HSET", names.AUDIT_HEAD, "sequence", 1, "hash", entries[0][1][3])
        assert not (await log.verify()).ok
        await store.close()
    finally:
        server.close()


async def test_a_full_disk_ends_no_settling(
    log: AuditLog, journal: Journal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with log.act(event()):
        pass
    writable = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: writable(fd, data[:3]))
    for _ in range(3):
        await log.settle()
    assert caplog.text.count("cannot be written") == 1 and journal.remembered() == (0, "")
    monkeypatch.setattr(os, "write", writable)
    await log.settle()
    assert journal.remembered()[0] == 1 and not journal.pending()


async def test_a_disk_that_fills_during_an_act_takes_nothing_from_its_maker(
    log: AuditLog, journal: Journal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    writable = os.write
    async with log.act(event()) as act:
        act.on(Party("api_key", "key_new", "New"))
        monkeypatch.setattr(os, "write", lambda fd, data: writable(fd, data[:3]))
    monkeypatch.setattr(os, "write", writable)
    assert "cannot be written" in caplog.text
    await until(lambda: _settled(log))
    (sealed,) = await everything(log)
    assert (sealed.event.outcome, sealed.event.target) == ("success", Party("api_key", "key_new", "New"))
    assert journal.pending() == []


def test_every_action_is_declared() -> None:
    """/metrics has a series for each before its first event."""
    written = {
        name
        for path in (ROOT / "sidecar" / "control").rglob("*.py")
        for name in re.findall(r'"((?:api_key|admin_token|anomaly|admin|session)\.[a-z_]+)"', path.read_text())
        if not name.endswith(".html")
    }
    assert written == {*ACTIONS, *ATTEMPTS}
