"""When the fold looks again, and when details wait; the fold itself is a stub."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from sidecar.control.fold import Fold
from sidecar.control.fold_loop import A_BACKLOG, BUSY_EVENTS, BUSY_PAUSE, CHEAP_ROWS, DETAILS_EVERY, IDLE_PAUSE, SPREAD_PAUSE, FoldLoop
from sidecar.control.ledger import DETAILS, NOW
from sidecar.store.client import StoreUnavailable


@dataclass
class Restored:
    """The fold's own event, as far as it is asked."""

    def is_set(self) -> bool:
        return True


@dataclass
class Turn:
    """What one turn of the fold finds: events read, bytes not read, bytes not in the store, rows."""

    events: int = 0
    unread: int = 0
    unapplied: int = 0
    rows_: int = 0
    later: int = 0
    applied: list[str] = field(default_factory=list)
    is_away: bool = False
    restored: Restored = field(default_factory=Restored)

    def count(self) -> int:
        return self.events

    def uncounted(self) -> int:
        return self.unread

    def rows(self) -> int:
        return self.rows_

    def lag(self, lane: str) -> int:
        return self.unapplied if lane == NOW else self.unapplied + self.later

    async def verify(self) -> None:
        if self.is_away:
            raise StoreUnavailable("away")

    async def apply(self, lane: str) -> None:
        if self.is_away:
            raise StoreUnavailable("away")
        self.applied.append(lane)


@pytest.mark.parametrize(
    ("turn", "pause"),
    [
        (Turn(), IDLE_PAUSE),
        (Turn(BUSY_EVENTS - 1), IDLE_PAUSE),
        (Turn(BUSY_EVENTS), BUSY_PAUSE),
        (Turn(5000, rows_=CHEAP_ROWS + 1), SPREAD_PAUSE),
        (Turn(5000, unread=1, unapplied=1), BUSY_PAUSE),
        (Turn(5000, unread=A_BACKLOG, unapplied=A_BACKLOG, rows_=CHEAP_ROWS + 1), SPREAD_PAUSE),
        (Turn(5000, unread=A_BACKLOG + 1), 0.0),
        (Turn(unapplied=A_BACKLOG + 1), 0.0),
        (Turn(5000, unapplied=A_BACKLOG + 1, rows_=CHEAP_ROWS + 1), 0.0),
        (Turn(unapplied=A_BACKLOG + 1, is_away=True), IDLE_PAUSE),
    ],
)
async def test_what_came_in_during_a_turn_does_not_begin_the_next_one_early(turn: Turn, pause: float) -> None:
    assert await FoldLoop(cast(Fold, turn)).turn() == pause


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
