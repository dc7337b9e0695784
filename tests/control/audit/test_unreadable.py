"""Events that this version cannot read: they stand in their place and hide nothing of what lies around them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.audit import AuditLog, Filter, Journal, Party
from sidecar.control.audit.event import canonical, digest
from sidecar.control.audit.unreadable import stand_in
from sidecar.store import names
from sidecar.store.client import Store
from tests.control.audit.test_log import event, replace
from tests.support.store import until

GARBAGE = [b"", b"{", b"[]", b"7", b"\xff", b'{"id":7}', b"[" * 100_000]


def newer(sequence: int, prev_hash: str) -> bytes:
    """What a version writes that knows of one more outcome."""
    plain = json.loads(canonical(event(target="key_7"))) | {"outcome": "partial", "sequence": sequence, "prev_hash": prev_hash, "more": 1}
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.fixture
def log(store: Store, tmp_path: Path) -> AuditLog:
    return AuditLog(store, Journal(tmp_path / "audit"))


async def put(store: Store, log: AuditLog, *fields: bytes, head: bytes = b"x") -> None:
    """An entry of the stream as it is given, behind the others; `head` is the hash that the next event is chained to."""
    number = (await log.head())[0] + 1
    await store.call("XADD", names.AUDIT, f"{number}-0", *fields)
    await store.call("HSET", names.AUDIT_HEAD, "sequence", number, "hash", head)


async def put_newer(store: Store, log: AuditLog) -> None:
    sequence, hash_ = await log.head()
    data = newer(sequence + 1, hash_)
    await put(store, log, b"event", data, b"hash", digest(data).encode(), head=digest(data).encode())


async def pages(log: AuditLog, wanted: Filter) -> list[int]:
    found, cursor = [], ""
    while True:
        page = await log.query(wanted, 1, cursor)
        found += [sealed.event.sequence for sealed in page.events]
        cursor = page.next_cursor
        if not cursor:
            return found


@pytest.mark.parametrize("data", GARBAGE)
async def test_garbage_hides_nothing(log: AuditLog, store: Store, data: bytes) -> None:
    await log.append(event())
    await put(store, log, b"event", data, b"hash", b"\xff")
    await log.append(event())
    assert await pages(log, Filter()) == [3, 2, 1]
    assert await pages(log, Filter(target="key_1")) == [3, 1]
    exported = [sealed.event async for sealed in log.export(Filter())]
    assert [one.sequence for one in exported] == [1, 2, 3]
    assert (exported[1].action, exported[1].outcome) == ("unreadable", "unknown")
    assert "cannot be read" in exported[1].reason
    verdict = await log.verify()
    assert (verdict.ok, verdict.broken_at, verdict.reason) == (False, 2, "the event cannot be read")


async def test_an_entry_of_another_form_hides_nothing(log: AuditLog, store: Store) -> None:
    await log.append(event())
    await put(store, log, b"other", b"thing")
    await log.append(event())
    assert await pages(log, Filter()) == [3, 2, 1]
    assert (await log.verify()).broken_at == 2
    await log.settle()
    await store.call("HSET", names.AUDIT_HEAD, "targets", 0)
    assert await log.targets.catch_up(1000) or await log.targets.catch_up(1000)


async def test_of_a_newer_versions_event_everything_is_told_that_can_be(log: AuditLog, store: Store) -> None:
    await log.append(event())
    await put_newer(store, log)
    await log.append(event())
    (sealed,) = (await log.query(Filter(target="key_7"), 10)).events
    assert (sealed.event.action, sealed.event.target) == ("api_key.created", Party("api_key", "key_7"))
    assert (sealed.event.sequence, sealed.event.outcome) == (2, "unknown")
    assert sealed.event.time == event().time and "cannot be read" in sealed.event.reason


async def test_the_chain_holds_over_a_newer_versions_event(log: AuditLog, store: Store) -> None:
    await log.append(event())
    await put_newer(store, log)
    await log.append(event())
    verdict = await log.verify()
    assert (verdict.ok, verdict.events) == (True, 3)
    entries = await store.call("XRANGE", names.AUDIT, "-", "+")
    _, (_, data, _, hash_) = entries[1]
    await replace(store, entries, {2: (data.replace(b"key_7", b"key_8"), hash_)})
    verdict = await log.verify()
    assert (verdict.ok, verdict.broken_at, verdict.reason) == (False, 2, "the event was changed")


async def test_the_journal_empties_over_it(store: Store, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "audit")
    await put(store, AuditLog(store, journal), b"event", b"{", b"hash", b"x")
    waiting = event()
    journal.write(waiting)
    log = AuditLog(store, journal)

    async def settled() -> bool:
        await log.settle()
        return log.waiting == 0

    await until(settled)
    assert journal.pending() == []
    assert [sealed.event.id async for sealed in log.export(Filter())][1:] == [waiting.id]


@pytest.mark.parametrize("cursor", ["\n", "5\n", "\u00b2", "-1", "9" * 5000, " "])
async def test_a_cursor_that_is_none_is_told(log: AuditLog, cursor: str) -> None:
    with pytest.raises(ValueError, match="not a cursor of this log"):
        await log.query(Filter(), 10, cursor)


@given(
    st.one_of(
        st.binary(), st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.lists(inner)).map(json.dumps).map(str.encode)
    )
)
def test_whatever_it_is_there_is_something_to_show(data: bytes) -> None:
    found = stand_in(data, 5)
    assert found.sequence == 5
    assert canonical(found)
    assert Filter(start=1.0).accepts(found) is False


def test_what_can_be_read_of_it_is_kept_member_by_member() -> None:
    found = stand_in(
        b'{"id":"evt_1","time":"noon","action":"a.b","outcome":"odd","actor":5,"reason":"left","sequence":9,"request_id":"r"}', 2
    )
    assert (found.id, found.action, found.request_id, found.sequence) == ("evt_1", "a.b", "r", 2)
    assert (found.time, found.outcome, found.actor.type) == (datetime.fromtimestamp(0, UTC), "unknown", "unknown")
    assert found.reason.endswith(": left")
