"""Which keys were used, when and how often agrees with the calls themselves."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.active_keys import ActiveKeys, Days
from sidecar.store.client import Store
from tests.control.support.folding import Folding, usage_of, write, writer
from tests.control.test_usage import DAY, HOUR, NOW, clock, some_requests


@given(st.integers(0, 20_000), st.sets(st.integers(0, 500)))
def test_days_are_those_that_were_put_in(first: int, days: set[int]) -> None:
    found = Days(first, sum(1 << day for day in days))
    assert len(found) == len(days)
    assert [day for day in range(max(0, first - 3), first + 510) if day in found] == [first + day for day in sorted(days)]
    assert "monday" not in found


@pytest.mark.parametrize(
    ("start", "end"),
    [(NOW - 3 * DAY, NOW), (NOW - HOUR, NOW), (NOW // DAY * DAY - DAY, NOW // DAY * DAY), (NOW - 2 * DAY + 90, NOW - DAY), (NOW, NOW)],
)
async def test_requests_of_a_span(store: Store, tmp_path: Path, start: float, end: float) -> None:
    events = some_requests(400)
    write(writer(tmp_path / "spool"), *events)
    await Folding(tmp_path / "spool", store).run()
    start, end = start // 60 * 60, end // 60 * 60
    active = ActiveKeys(store, clock)
    usage = usage_of(store, clock)
    mine = [event for event in events if start <= event.time < end]
    for fine in (False, True):
        days = await active.days(await usage.plan(None, start, end, fine=fine))
        used = {(event.key_id, int(event.time // DAY)) for event in mine}
        assert all(day in days[key_id] for key_id, day in used)
        found = await active.requests(days, await usage.plan(None, start, end, fine=False, coarse=True))
        assert {key_id: count for key_id, count in found.items() if count} == Counter(event.key_id for event in mine)
