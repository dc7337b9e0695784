"""Delays of revocations, as the worker sees them."""

from __future__ import annotations

import asyncio

from sidecar.worker.propagation import MOST_AT_ONCE, Propagation
from tests.worker.plane import Keys


async def test_only_fresh_revocations_are_measured() -> None:
    now = 1000.0
    keys = Keys()
    fresh, old, alive = keys.issue(revoked_at=999.75), keys.issue(revoked_at=10.0), keys.issue()
    propagation = Propagation(keys, lambda: now)
    for token in (fresh, old, alive):
        propagation.key_changed(keys.found[token.encode()].key.id)
    propagation.key_changed("key_unknown")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert propagation.take() == [0.25] and propagation.take() == []


async def test_a_bulk_change_is_no_flood_of_questions() -> None:
    keys = Keys()
    propagation = Propagation(keys, lambda: 0.0)
    for number in range(1000):
        propagation.key_changed(f"key_{number}")
    assert len(propagation._looking) == MOST_AT_ONCE
    await asyncio.sleep(0)


async def test_an_unreachable_store_measures_nothing() -> None:
    keys = Keys()
    keys.away = True
    propagation = Propagation(keys, lambda: 0.0)
    propagation.key_changed("key_1")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert propagation.take() == []
