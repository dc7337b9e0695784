"""A report by key of thousands of keys that did little leaves the event loop its turns."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sidecar.control.turns import AT_ONCE
from sidecar.control.usage.tally import Sizes
from sidecar.store import names
from sidecar.store.client import Store
from tests.control.support.events import key_id
from tests.control.support.folding import usage_of
from tests.control.support.work import Work

DAY, KEYS = 86_400, 5000


@pytest.mark.parametrize("group_by", ["key", "owner"])
@pytest.mark.parametrize("most", [1, 1_000_000])
async def test_others_have_turns_while_groups_are_measured(store: Store, monkeypatch: pytest.MonkeyPatch, group_by: Any, most: int) -> None:
    yesterday = int(time.time() // DAY) - 1
    for key in map(key_id, range(KEYS)):
        await store.call("ZADD", names.active(names.shard_of(key), yesterday), 2, key)
    work = Work()
    monkeypatch.setattr(Sizes, "add", work.counted(Sizes.add))
    monkeypatch.setattr("sidecar.control.usage.reports.POINTS", most)
    async with work.watching():
        report = await usage_of(store).usage(None, yesterday * DAY, (yesterday + 1) * DAY, "1h", group_by)
    assert report.groups is not None and len(report.groups.names) == (KEYS if group_by == "key" else 10)
    assert work.longest == AT_ONCE
