"""When the fold looks again, and when details wait; the fold itself is a stub."""

from __future__ import annotations

import errno
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import pytest

from sidecar.control.folding.fold import Fold
from sidecar.control.folding.ledger import DETAILS, NOW
from sidecar.control.folding.loop import BUSY_EVERY, CHEAP_ROWS, DETAILS_EVERY, IDLE_EVERY, SPREAD_EVERY, FoldLoop
from sidecar.control.folding.patience import RETRY_MOST
from sidecar.control.folding.read_failures import UNREADABLE_EVERY, ReadFailures
from sidecar.store.client import StoreUnavailable

AT_ONCE = 100
"""Bytes of details that the stub brings in a turn."""


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
    waiting: int = 0
    """Bytes whose details the store lacks."""
    applied: list[str] = field(default_factory=list)
    is_away: bool = False
    away: set[str] = field(default_factory=set)
    """Acts that the store does not do while it does others: `verify`, lanes."""
    restored: Restored = field(default_factory=Restored)
    failures: ReadFailures = field(default_factory=lambda: ReadFailures(time.monotonic))
    is_unreadable: bool = False
    """The directory cannot be looked at."""

    def count(self) -> int:
        if self.is_unreadable:
            raise OSError(errno.EMFILE, "Too many open files", "/data/spool")
        return self.events

    def trails(self, lane: str) -> bool:
        return self.unapplied and lane == NOW

    def rows(self) -> int:
        return self.rows_

    def hurry(self) -> None:
        pass

    def uncounted(self, until: Mapping[str, int] | None = None) -> int:
        del until
        return 0

    def backlog(self, until: Mapping[str, int] | None = None) -> int:
        del until
        return 0

    def lag(self, lane: str) -> int:
        return 0 if lane == NOW else self.waiting

    async def verify(self) -> None:
        if self.is_away or "verify" in self.away:
            raise StoreUnavailable("verify is away")

    async def apply(self, lane: str) -> None:
        if self.is_away or lane in self.away:
            raise StoreUnavailable("away")
        self.applied.append(lane)
        if lane == DETAILS:
            self.waiting = max(0, self.waiting - AT_ONCE)


@pytest.mark.parametrize(
    ("turn", "every"),
    [
        (Turn(), IDLE_EVERY),
        (Turn(1), BUSY_EVERY),
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

    async def applied(waiting: int) -> list[str]:
        turn.waiting = waiting
        turn.applied.clear()
        await loop.turn()
        return list(turn.applied)

    assert await applied(1) == [NOW, DETAILS]
    assert await applied(1) == [NOW]
    now += DETAILS_EVERY
    assert await applied(AT_ONCE + 1) == [NOW, DETAILS]
    assert await applied(AT_ONCE + 1) == [NOW, DETAILS], "what is left of them follows in the next turn"
    assert await applied(1) == [NOW, DETAILS]
    assert await applied(1) == [NOW]
    turn.rows_ = CHEAP_ROWS
    assert await applied(1) == await applied(1) == [NOW, DETAILS]


@pytest.mark.parametrize(("away", "applied"), [("verify", [NOW, DETAILS]), (NOW, [DETAILS]), (DETAILS, [NOW])])
async def test_what_fails_waits_by_itself(away: str, applied: list[str]) -> None:
    """On a Cluster with one server away one act fails for ever, while others are done."""
    now = 1000.0
    turn = Turn(1, away={away})
    loop = FoldLoop(cast(Fold, turn), clock=lambda: now)
    for _ in range(20):
        turn.applied.clear()
        await loop.turn()
        assert turn.applied == applied
        assert loop.complaint.endswith("away"), "as long as one of them fails"
        now += BUSY_EVERY
    turn.away.clear()
    now += RETRY_MOST
    await loop.turn()
    assert loop.complaint == ""


async def test_what_fails_is_not_asked_at_every_turn() -> None:
    now, asked = 1000.0, 0
    turn = Turn(1)

    async def verify() -> None:
        nonlocal asked
        asked += 1
        raise StoreUnavailable("away")

    turn.verify = verify  # type: ignore[method-assign]
    loop = FoldLoop(cast(Fold, turn), clock=lambda: now)
    for _ in range(100):
        await loop.turn()
        now += 0.1
    assert 5 <= asked <= 9


async def test_spools_that_cannot_be_read_are_read_later(caplog: pytest.LogCaptureFixture) -> None:
    """The process has no descriptor left, and serves what it has."""
    found = Turn(events=1, is_unreadable=True)
    loop = FoldLoop(cast(Fold, found))
    for _ in range(3):
        assert await loop.turn() == UNREADABLE_EVERY
    assert "/data/spool cannot be read (Too many open files)" in loop.complaint
    assert not await loop.finish(0.05)
    assert caplog.text.count("Too many open files") == 1 and not found.applied
    found.is_unreadable = False
    assert await loop.turn() == BUSY_EVERY and found.applied
    assert loop.complaint == "" and await loop.finish(5.0)


async def test_a_spool_that_cannot_be_read_is_told_of_beside_a_store_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    turn = Turn(1, away={NOW})
    turn.failures.failed("s", "", OSError(errno.EIO, "Input/output error", "/data/spool/s-0.spool"))
    loop = FoldLoop(cast(Fold, turn))
    await loop.turn()
    assert "s-0.spool cannot be read (Input/output error)" in loop.complaint and loop.complaint.endswith("; away")
    assert "kept in the spool until the store takes it" in caplog.text, "the one does not hide the other in the log either"
    turn.away.clear()
    assert not await loop.finish(0.05)
    turn.failures.succeeded("s", "")
    assert await loop.finish(5.0) and loop.complaint == ""
