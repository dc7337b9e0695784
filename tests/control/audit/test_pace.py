"""Large events are read a few at a time, however many there are, and small ones many at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sidecar.control.audit import AuditLog, Change, Filter, Journal, Party, draft
from sidecar.control.audit.pace import BYTES, FIRST, MOST, Entry, Pace
from sidecar.store import names
from sidecar.store.client import Store

NOW = 1_900_000_000.0
LARGE = 300_000


def entries(count: int, size: int) -> list[Entry]:
    return [(b"1-0", [b"event", b"x" * (size - 9), b"hash"])] * count


@pytest.mark.parametrize(("count", "size", "following"), [
    (0, 0, MOST), (FIRST, 500, MOST), (MOST, BYTES // MOST, MOST), (FIRST, BYTES // 10, 10), (FIRST, BYTES, 1), (1, 2 * BYTES, 1),
])  # fmt: skip
def test_as_many_as_have_the_bytes(count: int, size: int, following: int) -> None:
    pace = Pace()
    assert pace.count == FIRST
    pace.took(entries(count, size))
    assert pace.count == following


async def test_no_trip_brings_more_large_events_than_its_deadline_allows(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog(store, Journal(tmp_path / "audit"), clock=lambda: NOW)
    changes = {"metadata": Change("a" * (LARGE // 2), "b" * (LARGE // 2))}
    for _ in range(40):
        await log.append(draft("api_key.updated", Party("admin_token", "a"), now=NOW, target=Party("api_key", "key_1"), changes=changes))
    trips: list[int] = []
    call, pipeline = store.call, store.pipeline

    async def noted(*command: Any) -> Any:
        reply = await call(*command)
        if command[0] in ("XRANGE", "XREVRANGE"):
            trips.append(sum(len(value) for _, fields in reply for value in fields))
        return reply

    async def noted_all(commands: Any) -> Any:
        replies = await pipeline(commands)
        if commands and commands[0][0] == "XRANGE":
            trips.append(sum(len(value) for found in replies for _, fields in found for value in fields))
        return replies

    monkeypatch.setattr(store, "call", noted)
    monkeypatch.setattr(store, "pipeline", noted_all)
    assert [sealed.event.sequence for sealed in (await log.query(Filter(), 1)).events] == [40]
    for wanted in (Filter(action="api_key.updated"), Filter(target="key_1")):
        assert [sealed.event.sequence for sealed in (await log.query(wanted, 1000)).events] == list(range(40, 0, -1))
    assert len([sealed async for sealed in log.export(Filter())]) == 40
    assert (await log.verify()).ok
    await log.settle()
    await store.call("HSET", names.AUDIT_HEAD, "targets", 0)
    assert await log.targets.catch_up(1000)
    assert sum(trips) > 5 * 40 * LARGE
    assert max(trips) <= FIRST * (LARGE + 1000)
