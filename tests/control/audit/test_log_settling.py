"""The log while it is written and settled at a time: every event once, and no fault that ends the settling."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from sidecar.control.audit import AuditLog, Event, Filter, Journal, Party
from sidecar.control.audit import log as module
from sidecar.control.audit.event import GENESIS, interrupted, seal
from sidecar.store import names
from sidecar.store.client import Store
from tests.control.audit.test_log import event
from tests.support.keys import open_keys
from tests.support.store import until


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "audit")


@pytest.fixture
def log(store: Store, journal: Journal) -> AuditLog:
    return AuditLog(store, journal)


async def ids(log: AuditLog) -> list[str]:
    return [sealed.event.id async for sealed in log.export(Filter())]


async def settled(log: AuditLog, but: int = 0) -> bool:
    await log.settle()
    return log.waiting == but


def hold(store: Store, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Scripts reach the store only when the second event is set; the first one is as soon as one has been asked for."""
    asked, opened = asyncio.Event(), asyncio.Event()
    run = store.run

    async def held(*call: Any) -> Any:
        asked.set()
        await opened.wait()
        return await run(*call)

    monkeypatch.setattr(store, "run", held)
    return asked, opened


async def test_settling_leaves_alone_what_is_being_appended(log: AuditLog, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, opened = hold(store, monkeypatch)
    appending = asyncio.create_task(log.append(event()))
    await asked.wait()
    settling = asyncio.create_task(log.settle())
    # Either it finds nothing to do, or it looks for the event in the log, in vain, and waits for its turn to append it.
    await until(lambda: settling.done() or bool(log._turn._waiters))
    opened.set()
    await asyncio.gather(appending, settling)
    assert len(await ids(log)) == 1
    await until(lambda: settled(log))
    assert len(await ids(log)) == 1


async def test_an_event_is_appended_once_whoever_waits_to_append_it(log: AuditLog, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, opened = hold(store, monkeypatch)
    one = event()
    first = asyncio.create_task(log.append(one))
    await asked.wait()
    second = asyncio.create_task(log.append(one))
    await until(lambda: bool(log._turn._waiters))
    opened.set()
    await asyncio.gather(first, second)
    assert len(await ids(log)) == 1


async def cut(store: Store, kept: int) -> None:
    """Leave the log with its first `kept` events, as a store that was restored, or a hand, has it: whole in itself."""
    entries = await store.call("XRANGE", names.AUDIT, "-", "+", "COUNT", kept)
    await store.call("DEL", names.AUDIT)
    for number, fields in entries:
        await store.call("XADD", names.AUDIT, number, *fields)
    await store.call("HSET", names.AUDIT_HEAD, "sequence", kept, "hash", entries[-1][1][3])


async def test_that_the_log_was_cut_is_not_forgotten_with_the_next_acts(
    log: AuditLog, journal: Journal, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        await log.append(event())
    await until(lambda: settled(log))
    await cut(store, 3)
    later = log
    for length in (4, 5, 6):  # the places of what is gone, and beyond them
        later = AuditLog(store, journal)
        await later.append(event())
        await until(lambda later=later: settled(later))
        verdict = await later.verify()
        assert (verdict.ok, len(await ids(later))) == (False, length)
    assert journal.remembered()[0] == 5
    # Told once by each process, with what to ask.
    assert caplog.text.count("no longer holds event 5") == 3
    await later.append(event())
    await until(lambda: settled(later))
    assert caplog.text.count("no longer holds event 5") == 3
    assert "sidecar audit verify" in caplog.text

    # As docs/operations.md ends it, while the sidecar runs.
    journal.forget_head()
    assert (await later.verify()).ok
    await later.append(event())
    await until(lambda: settled(later))
    assert journal.remembered()[0] == 8
    assert (await later.verify()).ok


async def test_a_log_that_began_anew_is_told_too(log: AuditLog, store: Store) -> None:
    for _ in range(2):
        await log.append(event())
    await until(lambda: settled(log))
    await store.call("DEL", names.AUDIT, names.AUDIT_HEAD)
    for _ in range(3):
        await log.append(event())
    await until(lambda: settled(log))
    assert not (await log.verify()).ok


async def test_what_a_copy_of_data_dir_brings_back_takes_nothing_of_what_is_remembered(
    log: AuditLog, journal: Journal, store: Store
) -> None:
    first = event()
    await log.append(first)
    await log.append(event())
    await until(lambda: settled(log))
    newest = journal.remembered()
    journal.write(first)
    again = AuditLog(store, journal)
    await until(lambda: settled(again))
    assert not journal.pending()
    assert journal.remembered() == newest


async def test_a_fault_in_one_round_does_not_end_the_settling(
    log: AuditLog, journal: Journal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pending, rounds = journal.pending, 0

    def faulty(*only: Any) -> list[Event]:
        nonlocal rounds
        rounds += 1
        if rounds <= 3:
            raise RuntimeError("nobody thought of this")
        return pending(*only)

    await log.append(event())
    monkeypatch.setattr(journal, "pending", faulty)
    running = asyncio.create_task(log.run(0.001))
    try:
        await until(lambda: running.done() or not pending())
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.wait([running])
    # Told once, not each second.
    assert caplog.text.count("RuntimeError: nobody thought of this") == 1


def forge(who: Event, **changes: Any) -> Event:
    return replace(who, actor=Party("admin_token", "adm_bob", "Bob"), **changes)


async def rewrite(store: Store, change: Callable[[Event], Event]) -> None:
    """As a hand has it that may write in the store: every event through `change`, and a chain that is whole in itself."""
    entries = await store.call("XRANGE", names.AUDIT, "-", "+")
    await store.call("DEL", names.AUDIT)
    hash_ = GENESIS
    for number, (_, fields) in enumerate(entries, start=1):
        data, hash_ = seal(change(msgspec.json.decode(fields[1], type=Event)), number, hash_)
        await store.call("XADD", names.AUDIT, f"{number}-0", "event", data, "hash", hash_)
    await store.call("HSET", names.AUDIT_HEAD, "sequence", len(entries), "hash", hash_)


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_event_that_is_altered_before_it_is_settled_shows(
    log: AuditLog, journal: Journal, store: Store, caplog: pytest.LogCaptureFixture, restarted: bool
) -> None:
    await log.append(event())
    await until(lambda: settled(log))
    newest, one = journal.remembered(), event("api_key.revoked")
    await log.append(one)
    await rewrite(store, lambda each: forge(each) if each.id == one.id else each)
    later = AuditLog(store, journal) if restarted else log
    for _ in range(4):
        await later.settle()
    verdict = await later.verify()
    assert (verdict.ok, verdict.broken_at) == (False, 2)
    assert journal.pending() == [one]
    assert caplog.text.count("event 2 of the audit log is not what was written") == 1
    # What was chained behind it does not become what is expected; it is in the log, and its act goes on.
    await later.append(event())
    await until(lambda: settled(later, but=1))
    assert (journal.pending(), journal.remembered()) == ([one], newest)

    # As docs/operations.md ends it, while the sidecar runs.
    journal.drop(one.id)
    await later.settle()
    assert (await later.verify()).ok


async def test_what_was_altered_and_is_as_it_was_again_is_settled(log: AuditLog, journal: Journal, store: Store) -> None:
    one = event()
    await log.append(one)
    await rewrite(store, forge)
    for _ in range(2):
        await log.settle()
    assert not (await log.verify()).ok
    await rewrite(store, lambda _: one)
    await until(lambda: settled(log))
    assert (await log.verify()).ok and not journal.pending()


async def test_an_event_that_is_altered_under_its_old_hash_keeps_the_copy(log: AuditLog, journal: Journal, store: Store) -> None:
    one = event()
    await log.append(one)
    ((_, fields),) = await store.call("XRANGE", names.AUDIT, "-", "+")
    await store.call("DEL", names.AUDIT)
    await store.call("XADD", names.AUDIT, "1-0", "event", fields[1].replace(b"Alice", b"Bobby"), "hash", fields[3])
    for _ in range(3):
        await log.settle()
    assert journal.pending() == [one]
    assert not (await log.verify()).ok


async def test_the_end_of_an_act_that_only_the_log_knows_is_taken(log: AuditLog, journal: Journal, store: Store) -> None:
    """The disk was full when the act ended, and the process died then."""
    one = event()
    journal.write(interrupted(one))
    await log._append(one)
    again = AuditLog(store, journal)
    await until(lambda: settled(again))
    assert await ids(again) == [one.id]
    assert (await again.verify()).ok and not journal.pending()


async def test_an_act_that_nobody_knows_the_end_of_gets_none_from_a_hand(log: AuditLog, journal: Journal, store: Store) -> None:
    one = interrupted(event())
    journal.write(one)
    await log._place([one], {one.id})
    await rewrite(store, lambda each: replace(each, outcome="success", reason="", changes={}))
    for _ in range(3):
        await log.settle()
    assert journal.pending() == [one]
    assert not (await log.verify()).ok


async def test_a_crowd_that_no_store_has_for_good_is_looked_at_by_turns(
    log: AuditLog, journal: Journal, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOKED_AT", 3)
    pending, durable = journal.pending, store.durable
    looked_at: list[set[str]] = []

    def noted(only: Collection[str] | None = None) -> list[Event]:
        found = pending(only)
        looked_at.append({each.id for each in found})
        return found

    async def never() -> bool:
        return False

    monkeypatch.setattr(journal, "pending", noted)
    monkeypatch.setattr(store, "durable", never)
    events = [event(now=time.time()) for _ in range(10)]
    for number, each in enumerate(events):
        if number % 2:
            await log.append(each)
        else:
            journal.write(each)
    for _ in range(8):
        await log.settle()
    assert max(map(len, looked_at)) <= 6 and set().union(*looked_at[-4:]) == {each.id for each in events}
    assert (log.waiting, sorted(await ids(log))) == (10, sorted(each.id for each in events))
    monkeypatch.setattr(store, "durable", durable)
    await until(lambda: settled(log))
    assert not pending() and (await log.verify()).ok


async def test_nothing_is_written_to_a_store_that_is_not_the_known_one(store: Store, journal: Journal, tmp_path: Path) -> None:
    """The one that it was meant for would never get it, and nothing of ours belongs into another's log."""
    adoption = (await open_keys(store, tmp_path)).adoption

    async def guard() -> None:
        adoption.check(await store.call(*adoption.question))

    kept, failed = event(), event("admin.authentication_failed")
    journal.write(kept)
    await store.call("FLUSHALL")
    log = AuditLog(store, journal, guard=guard)
    for _ in range(3):
        await log.settle()
    await log.append(failed)
    assert await store.call("DBSIZE") == 0
    assert {one.id for one in journal.pending()} == {kept.id, failed.id}
    await adoption.adopt(store)
    await until(lambda: settled(log))
    assert sorted(await ids(log)) == sorted([kept.id, failed.id])
