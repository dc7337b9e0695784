"""The files of the journal where the disk is full, and what a process leaves that dies while it writes one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sidecar.control.audit import AuditLog, Filter, Journal
from sidecar.store.client import Store
from tests.control.audit.test_log import event
from tests.support.disk import UNLISTABLE, full_disk, unlistable
from tests.support.store import until


@pytest.mark.parametrize("room", [0, 20])
def test_what_a_full_disk_does_not_take_leaves_no_file(tmp_path: Path, room: int) -> None:
    journal, kept = Journal(tmp_path), event()
    journal.write(kept)
    before = set(tmp_path.iterdir())
    with full_disk(room):
        for each in (event(), event(), kept):
            with pytest.raises(OSError, match=r"too large|No space"):
                journal.write(each)
        with pytest.raises(OSError, match=r"too large|No space"):
            journal.remember(7, "0" * 64)
    assert set(tmp_path.iterdir()) == before
    assert journal.pending() == [kept]
    assert journal.remembered() == (0, "")


def test_what_cannot_be_put_in_its_place_leaves_no_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    (tmp_path / "head").mkdir()
    with pytest.raises(IsADirectoryError):
        journal.remember(7, "hash")
    assert [path.name for path in tmp_path.iterdir()] == ["head"]


@pytest.mark.parametrize("reason", UNLISTABLE)
def test_a_directory_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path, reason: int) -> None:
    journal = Journal(tmp_path)
    journal.write(event())
    for look in (journal.pending, journal.tidy):
        with unlistable(reason), pytest.raises(OSError) as raised:
            look()
        assert raised.value.errno == reason
    assert len(journal.pending()) == 1


async def test_what_waits_still_waits_while_the_journal_cannot_be_read(store: Store, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "audit")
    log = AuditLog(store, journal)
    journal.write(event())
    log.waiting = 1
    with unlistable():
        running = asyncio.create_task(log.run(0.001))
        await asyncio.wait([running], timeout=0.05)
        assert not running.done() and log.waiting == 1
    try:
        await until(lambda: running.done() or not journal.pending())
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert log.waiting == 0 and len([sealed async for sealed in log.export(Filter())]) == 1


async def test_what_was_left_half_written_goes_when_the_log_is_taken_up_again(store: Store, tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    journal = Journal(directory)
    kept = event()
    journal.write(kept)
    left = [directory / f"{event().id}.new", directory / "head.new"]
    for path in left:
        path.write_bytes(b"{")
    # A command that looks in beside the running process takes nothing from under its hands.
    assert Journal(directory).pending() == [kept]
    assert all(path.exists() for path in left)
    running = asyncio.create_task(AuditLog(store, journal).run(0.001))
    try:
        await until(lambda: running.done() or not journal.pending())
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert [path.name for path in directory.iterdir()] == ["head"]


async def test_what_the_journal_does_not_take_is_appended_and_takes_no_memory(store: Store, tmp_path: Path) -> None:
    log = AuditLog(store, Journal(tmp_path / "audit"))
    with full_disk(20):
        for _ in range(3):
            await log.append(event())
    assert len([sealed async for sealed in log.export(Filter())]) == 3
    assert not log._places
    await log.append(event())
    assert len(log._places) == 1
    await until(lambda: _settled(log))
    assert not log._places


async def _settled(log: AuditLog) -> bool:
    await log.settle()
    return log.waiting == 0
