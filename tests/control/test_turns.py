"""Long work is cut into pieces, and loses nothing by it."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.control.turns import AT_ONCE, TRIP, Turns, replies
from sidecar.store.client import Store
from tests.control.support.work import Work


async def test_others_have_a_turn_after_many_small_steps() -> None:
    turns, work = Turns(), Work()
    async with work.watching():
        await turns.after(AT_ONCE - 1)
        assert work.turns == 0
        await turns.after()
        assert work.turns == 1
        await turns.after(3 * AT_ONCE)
        assert work.turns == 2
        await turns.after(AT_ONCE - 1)
        assert work.turns == 2


@pytest.mark.parametrize("count", [0, 1, TRIP, TRIP + 1, 3 * TRIP])
async def test_every_item_has_its_reply(store: Store, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    trips: list[int] = []
    pipeline = store.pipeline

    async def noted(commands: Any) -> list[Any]:
        trips.append(len(commands))
        return await pipeline(commands)

    monkeypatch.setattr(store, "pipeline", noted)
    found = [pair async for pair in replies(store, iter(range(count)), lambda number: ("ECHO", number))]
    assert found == [(number, str(number).encode()) for number in range(count)]
    assert (sum(trips), max(trips, default=0)) == (count, min(count, TRIP))
