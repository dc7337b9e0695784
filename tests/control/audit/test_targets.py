"""The way to the events of one target gives what the whole log gives, whichever version appended them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.control.audit import AuditLog, Filter, Journal, pace, reading
from sidecar.control.audit.event import Event, seal
from sidecar.store import names
from sidecar.store.client import Store
from tests.control.audit.test_log import event

KEYS = ("key_1", "key_10", "key_2")
ACTIONS = ("api_key.created", "api_key.revoked")


async def append_as_before(store: Store, log: AuditLog, one: Event) -> None:
    """As a version does that knows of no index."""
    sequence, hash_ = await log.head()
    data, sealed = seal(one, sequence + 1, hash_ or "0" * 64)
    await store.call("XADD", names.AUDIT, f"{sequence + 1}-0", "event", data, "hash", sealed)
    await store.call("HSET", names.AUDIT_HEAD, "sequence", sequence + 1, "hash", sealed)
    log._head = (sequence + 1, sealed)


async def pages(log: AuditLog, wanted: Filter, limit: int) -> list[int]:
    """The sequence numbers of all pages."""
    found: list[int] = []
    cursor = ""
    while True:
        page = await log.query(wanted, limit, cursor)
        assert len(page.events) <= limit
        found += [sealed.event.sequence for sealed in page.events]
        cursor = page.next_cursor
        if not cursor:
            return found


async def everything(log: AuditLog, wanted: Filter) -> list[int]:
    return [sealed.event.sequence async for sealed in log.export(wanted)][::-1]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    made=st.lists(st.tuples(st.booleans(), st.sampled_from(KEYS), st.sampled_from(ACTIONS), st.booleans()), max_size=30),
    limit=st.integers(1, 4),
)
async def test_pages_of_a_target_are_those_of_the_log(
    store: Store, tmp_path: Path, made: list[tuple[bool, str, str, bool]], limit: int
) -> None:
    await store.call("FLUSHALL")
    log = AuditLog(store, Journal(tmp_path / "audit"))
    for old, key_id, action, caught_up in made:
        one = event(action, key_id)
        await (append_as_before(store, log, one) if old else log.append(one))
        if caught_up:
            await log.targets.catch_up(1)
    for key_id in KEYS:
        for wanted in (Filter(target=key_id), Filter(target=key_id, action=ACTIONS[1]), Filter(target=key_id, actor="adm_nobody")):
            assert await pages(log, wanted, limit) == await everything(log, wanted)
    while not await log.targets.catch_up(1000):
        pass
    assert await log.targets.complete_until() == len(made)
    for key_id in KEYS:
        assert await pages(log, Filter(target=key_id), limit) == await everything(log, Filter(target=key_id))


async def test_what_a_new_log_appends_is_in_the_index_at_once(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog(store, Journal(tmp_path / "audit"))
    for number in range(6):
        await log.append(event(target=KEYS[number % 3]))
    assert await log.targets.complete_until() == 6
    assert await log.targets.catch_up(1)
    read: list[tuple[object, ...]] = []
    plain = store.call

    async def call(*command: object) -> object:
        read.append(command)
        return await plain(*command)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "call", call)
    assert await pages(log, Filter(target=KEYS[0]), 10) == [4, 1]
    # The log was asked for what is behind the mark, where there is nothing.
    assert [command[3] for command in read if command[0] == "XREVRANGE"] == ["(6-0"]


async def test_two_that_catch_up_do_no_harm(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "FIRST", 3)
    monkeypatch.setattr(pace, "MOST", 3)
    logs = [AuditLog(store, Journal(tmp_path / str(number))) for number in range(2)]
    for number in range(20):
        await append_as_before(store, logs[0], event(target=KEYS[number % 3]))
    while not all(await asyncio.gather(*(log.targets.catch_up(6) for log in logs))):
        pass
    assert await store.call("ZCARD", names.AUDIT_TARGETS) == 20
    assert await pages(logs[1], Filter(target=KEYS[1]), 3) == await everything(logs[1], Filter(target=KEYS[1]))


async def test_an_event_that_cannot_be_read_is_left_to_the_check(store: Store, tmp_path: Path) -> None:
    log = AuditLog(store, Journal(tmp_path / "audit"))
    await store.call("XADD", names.AUDIT, "1-0", "event", b"{", "hash", b"x")
    await store.call("HSET", names.AUDIT_HEAD, "sequence", 1, "hash", b"x")
    assert not await log.targets.catch_up(1)
    assert await log.targets.catch_up(1)
    assert await log.targets.complete_until() == 1
    assert not (await log.verify()).ok


async def test_the_running_log_catches_up(store: Store, tmp_path: Path) -> None:
    log = AuditLog(store, Journal(tmp_path / "audit"))
    await append_as_before(store, log, event(target=KEYS[0]))
    running = asyncio.create_task(log.run(0.001))
    try:
        async with asyncio.timeout(5):
            while await log.targets.complete_until() < 1:
                await asyncio.sleep(0.001)
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_what_is_kept_of_an_act_is_found_however_much_was_appended_since(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that never says that it has something for good leaves an hour's acts in the journal, an import of a hundred thousand
    keys among them: after a reload in that hour those beyond the newest would come into the log once more."""
    monkeypatch.setattr(reading, "SCAN_BOUND", 8)

    async def cannot_tell() -> bool:
        return False

    monkeypatch.setattr(store, "durable", cannot_tell)
    journal = Journal(tmp_path / "audit")
    log = AuditLog(store, journal)
    for number in range(40):
        await log.append(event(target=f"key_{number % 30}"))
    before = await everything(log, Filter())
    assert len(journal.ids()) == len(before) == 40
    log = AuditLog(store, journal)
    for _ in range(3):
        await log.settle()
    assert await everything(log, Filter()) == before
    assert log.waiting == 40 and (await log.verify()).ok
