"""Spans of which the minutes went sooner than `usage.minutes` says now, because they came in when it said less."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sidecar.control.queries import Step
from sidecar.control.usage.minutes import there_from
from sidecar.store import names
from sidecar.store.client import Store
from tests.control.support.events import key_id, request
from tests.control.support.folding import Folding, groups_in, usage_of, write, writer

HOUR, DAY = 3600, 86_400
NOW = time.time()
OLD = int(NOW - 3 * DAY) // HOUR * HOUR
"""An hour that had gone when `usage.minutes` was raised, and whose second half is asked for."""
YOUNG = OLD + 2 * DAY
"""One that had not."""


@pytest.fixture
async def store_after_raise(tmp_path: Path, store: Store) -> Store:
    spool = writer(tmp_path / "spool")
    write(spool, *(request(key_id(1), time=hour + minute * 60 + 1) for hour in (OLD, YOUNG) for minute in (10, 40, 50)))
    await Folding(tmp_path / "spool", store).run()
    for shard in range(names.SHARDS):
        await store.call("DEL", names.series(shard, "m", OLD // HOUR))
    return store


@pytest.mark.parametrize("step", ["1m", "1h", "1d"])
@pytest.mark.parametrize("key", [None, key_id(1)])
async def test_a_span_is_widened_where_its_minutes_went_early(store_after_raise: Store, step: Step, key: str | None) -> None:
    reports = usage_of(store_after_raise, lambda: NOW)
    report = await reports.usage(key, OLD + HOUR / 2, None, step, "key")
    assert (report.totals.requests, report.start) == (6, OLD)
    assert [group.totals.requests for group in await groups_in(report) or []] == [6]
    # What came later is told by the minute.
    report = await reports.usage(key, YOUNG + HOUR / 2, None, step, None)
    assert (report.totals.requests, report.start) == (2, YOUNG + HOUR / 2)
    assert step != "1m" or [time for time, _ in report.series] == [YOUNG + 40 * 60, YOUNG + 50 * 60]


async def test_an_hour_without_use_has_no_minutes_and_lacks_none(store_after_raise: Store) -> None:
    unused = ((float(OLD + HOUR), float(YOUNG)),)
    assert await there_from(store_after_raise, unused, int(NOW)) == 0
    assert await there_from(store_after_raise, ((OLD, YOUNG),), int(NOW)) == OLD + HOUR
    # Of an hour that is not complete nothing can be told.
    assert await there_from(store_after_raise, ((OLD, YOUNG),), OLD + HOUR - 1) == 0
