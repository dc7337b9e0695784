"""What this process holds and what the store holds must stay equal, whatever is added."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.control.folding.ledger import NOW, Entry, Ledger
from sidecar.control.folding.work import Work
from sidecar.control.metrics.state import Counts
from sidecar.control.totals.nested import add
from sidecar.control.totals.rows import STEP
from sidecar.store import names
from sidecar.store.client import Store

numbers = st.one_of(st.integers(0, 1 << 40), st.integers(0, 1 << 50).map(lambda steps: steps * STEP))
"""Counts, and sums of seconds."""
lists = st.lists(numbers, min_size=1, max_size=5)
name = st.sampled_from(["ok\x1f", "denied\x1fx", "1", "é", "a b"])
shapes = st.fixed_dictionaries({}, optional={"r": st.dictionaries(name, numbers, min_size=1), "t": lists, "d": lists, "u": numbers})


fields = st.dictionaries(st.sampled_from(["k:a", "k:b", "failures"]), shapes.filter(bool), min_size=1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    deltas=st.lists(st.dictionaries(st.sampled_from(["k:a", "k:b", "failures"]), shapes.filter(bool), min_size=1), min_size=1, max_size=4)
)
async def test_the_script_adds_as_python_does(store: Store, deltas: list[dict[str, Any]]) -> None:
    await store.call("FLUSHALL")
    ledger = Ledger(store, "i")
    expected: dict[str, Any] = {}
    counts = Counts()
    for position, delta in enumerate(deltas):
        add(expected, delta)
        counts.apply({3: delta})
        assert await ledger.apply([Entry(NOW, 3, "s", position, position + 1, Work(totals=delta))]) == [position + 1]
    stored = await store.call("HGETALL", names.totals(3, "i"))
    assert {field.decode(): msgspec.msgpack.decode(value) for field, value in stored.items()} == expected
    restored = Counts()
    restored.restore(stored)
    assert (restored.keys, restored.families) == (counts.keys, counts.families)
