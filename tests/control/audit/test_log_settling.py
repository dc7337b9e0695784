"""The log while it is written and settled at a time: every event once, and no fault that ends the settling."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sidecar.control.audit import AuditLog, Event, Filter, Journal
from sidecar.store.client import Store
from tests.control.audit.test_log import event
from tests.support.store import until


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "audit")


@pytest.fixture
def log(store: Store, journal: Journal) -> AuditLog:
    return AuditLog(store, journal)


async def ids(log: AuditLog) -> list[str]:
    return [sealed.event.id async for sealed in log.export(Filter())]


async def settled(log: AuditLog) -> bool:
    await log.settle()
    return log.waiting == 0


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


async def test_a_fault_in_one_round_does_not_end_the_settling(
    log: AuditLog, journal: Journal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pending, rounds = journal.pending, 0

    def faulty() -> list[Event]:
        nonlocal rounds
        rounds += 1
        if rounds <= 3:
            raise RuntimeError("nobody thought of this")
        return pending()

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
