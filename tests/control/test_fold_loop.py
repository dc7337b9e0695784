"""When the fold looks again, and when details wait; the fold itself is a stub."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from sidecar.control.fold import Fold
from sidecar.control.fold_loop import BUSY_EVENTS, BUSY_EVERY, CHEAP_ROWS, DETAILS_EVERY, IDLE_EVERY, SPREAD_EVERY, FoldLoop
from sidecar.control.ledger import DETAILS, NOW
from sidecar.store.client import StoreUnavailable


@dataclass
class Restored:
    """The fold's own event, as far as it is asked."""

    def is_set(self) -> bool:
        return True


@dataclass
class Turn:
    """What one turn of the fold finds: events read, whether more was there, whether the store lacks some of it, rows."""

    events: int = 0
    has_more: bool = False
    unapplied: bool = False
    rows_: int = 0
    later: int = 0
    applied: list[str] = field(default_factory=list)
    is_away: bool = False
    restored: Restored = field(default_factory=Restored)

    def count(self) -> int:
        return self.events

    def trails(self, lane: str) -> bool:
        return self.unapplied and lane == NOW

    def rows(self) -> int:
        return self.rows_

    def lag(self, lane: str) -> int:
        return 0 if lane == NOW else self.later

    async def verify(self) -> None:
        if self.is_away:
            raise StoreUnavailable("away")

    async def apply(self, lane: str) -> None:
        if self.is_away:
            raise StoreUnavailable("away")
        self.applied.append(lane)


@pytest.mark.parametrize(
    ("turn", "every"),
    [
        (Turn(), IDLE_EVERY),
        (Turn(BUSY_EVENTS - 1), IDLE_EVERY),
        (Turn(BUSY_EVENTS), BUSY_EVERY),
        (Turn(5000, rows_=CHEAP_ROWS + 1), SPREAD_EVERY),
        (Turn(5000, has_more=True), 0.0),
        (Turn(5000, has_more=True, rows_=CHEAP_ROWS + 1), 0.0),
        (Turn(unapplied=True), 0.0),
        (Turn(5000, unapplied=True, rows_=CHEAP_ROWS + 1), 0.0),
        (Turn(unapplied=True, is_away=True), IDLE_EVERY),
    ],
)
async def test_the_next_turn_begins_at_once_only_for_what_this_one_left(turn: Turn, every: float) -> None:
    assert await FoldLoop(cast(Fold, turn)).turn() == every


async def test_details_wait_while_few_requests_share_a_row() -> None:
    now = 1000.0
    turn = Turn(5000, rows_=CHEAP_ROWS + 1)
    loop = FoldLoop(cast(Fold, turn), clock=lambda: now)
    await loop.turn()
    await loop.turn()
    assert turn.applied == [NOW, DETAILS, NOW]
    now += DETAILS_EVERY
    turn.later = 1
    await loop.turn()
    await loop.turn()
    assert turn.applied[3:] == [NOW, DETAILS, NOW, DETAILS], "what is left of them follows at once"
    turn.rows_ = turn.later = 0
    await loop.turn()
    await loop.turn()
    assert turn.applied[7:] == [NOW, DETAILS, NOW, DETAILS]
