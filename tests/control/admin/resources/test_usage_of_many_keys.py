"""Two weeks of minutes of several keys: the answer is whole, and neither holds up the event loop nor fills the memory."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sidecar.control.admin import csv_export
from sidecar.control.admin.messages import usage as messages
from sidecar.control.usage.tally import Tally
from sidecar.store.client import Store
from tests.control.admin.conftest import Clock, make_services, serve
from tests.control.support.events import key_id
from tests.control.support.folding import usage_of
from tests.control.support.series import OF_A_MINUTE, fill_minutes
from tests.control.support.work import Work

HOUR, DAY = 3600, 86_400
KEYS = 10
MOST_STEPS = 2500
"""Small steps (a cell added up, a point or a row made) between two turns of the loop: some milliseconds."""
MOST_BYTES = 16_000_000
"""For 43,200 points, whose sums and document together take 27 MB."""


def counting(monkeypatch: pytest.MonkeyPatch) -> Work:
    """Counts cells that are added up, points and rows."""
    work = Work()
    monkeypatch.setattr(Tally, "add", work.counted(Tally.add))
    monkeypatch.setattr(messages, "Point", work.counted(messages.Point))
    monkeypatch.setattr(csv_export, "lines", work.counted(csv_export.lines, len))
    return work


@asynccontextmanager
async def asked(store: Store, data_dir: Path, days: int) -> AsyncIterator[Callable[[str, str], Any]]:
    """Asks for the use of keys that were used in each minute of some days: takes the query and Accept, gives the response."""
    end = int(time.time()) // HOUR * HOUR
    await fill_minutes(store, [key_id(number) for number in range(KEYS)], end - days * DAY, end)
    services, token = await make_services(store, data_dir, Clock())
    async with AsyncExitStack() as stack:
        base = await serve(stack, replace(services, usage=usage_of(store, lambda: end)))
        session = await stack.enter_async_context(aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}))
        yield lambda query, accept: session.get(f"{base}/admin/v1/usage?{query}", headers={"Accept": accept})


@pytest.mark.parametrize(
    ("days", "query", "groups"),
    [
        (14, "step=1m&group_by=key", KEYS),
        (2, "step=1m&group_by=owner", KEYS),
        (14, "step=1m&group_by=outcome", 1),
        (14, "step=1m", 0),
    ],
)
async def test_a_document_of_many_points_is_made_in_turns(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, query: str, groups: int
) -> None:
    points = days * 1440
    async with asked(store, tmp_path / "data", days) as ask:
        work = counting(monkeypatch)
        async with work.watching(), ask(query, "application/json") as response:
            answer = await response.json()
    assert len(answer["series"]) == points
    assert [len(group["series"]) for group in answer.get("groups", [])] == [points] * groups
    assert all(group["totals"]["requests"] * groups == answer["totals"]["requests"] for group in answer.get("groups", []))
    assert answer["totals"]["requests"] == KEYS * points * OF_A_MINUTE[0]
    assert work.longest <= MOST_STEPS
    assert work.turns >= (1 + groups) * points / MOST_STEPS


async def test_rows_of_many_points_are_made_in_turns(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with asked(store, tmp_path / "data", 2) as ask:
        work = counting(monkeypatch)
        async with work.watching(), ask("step=1m&group_by=key", "text/csv") as response:
            data = await response.read()
    assert data.count(b"\r\n") == 1 + KEYS * 2 * 1440
    assert work.longest <= MOST_STEPS


async def test_the_points_of_many_keys_are_not_held_all_at_once(store: Store, tmp_path: Path) -> None:
    async with asked(store, tmp_path / "data", 3) as ask:
        tracemalloc.start()
        try:
            size = 0
            async with ask("step=1m&group_by=key", "application/json") as response:
                async for piece in response.content.iter_any():
                    size += len(piece)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert size > 7_000_000
    assert peak < MOST_BYTES
