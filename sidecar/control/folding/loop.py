"""Runs the fold: often when there is much to read, cheaply when there is nothing, and patiently while the store is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from sidecar.control.folding.fold import Fold
from sidecar.control.folding.ledger import DETAILS, NOW
from sidecar.control.folding.patience import RETRY_MOST, Patience, ShardsAway
from sidecar.control.folding.read_failures import UNREADABLE_EVERY, told
from sidecar.store.client import StoreNotAdopted, StoreUnavailable

IDLE_EVERY = 0.1
BUSY_EVERY = 0.5
"""Seconds from the beginning of a turn that found nothing, or something, to that of the next. Fewer, longer stretches: a turn
costs the store the same few calls for one request as for hundreds, and it may be the store of a hundred replicas."""
CHEAP_ROWS = 500
"""Of a turn with more rows than this the details are brought into the store later, many turns at once."""
SPREAD_EVERY = 0.65
"""From the beginning of such a turn: a finished request must show within a second, and the turn takes up to a third of one."""
DETAILS_EVERY = 5.0
"""Seconds for which the details wait while turns have so many rows."""
VERIFY_EVERY = 5.0
"""Seconds between two comparisons with the store's own positions: a store that fell back must be noticed without traffic too."""

_log = logging.getLogger(__name__)


class FoldLoop:
    """Run `run` as a task, then `finish` once the workers are gone."""

    def __init__(
        self, fold: Fold, ends: Callable[[], Mapping[str, int]] | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`ends` tells up to where each spool is written: what comes after the end has begun is not waited for."""
        self._fold = fold
        self._ends = ends
        self._clock = clock
        self._verify_at = 0.0
        self._details_at = 0.0
        # Each act by itself: what one server of a Cluster does not do must not keep the others from theirs.
        self._patience = Patience(clock)
        self._unreadable = ""

    @property
    def complaint(self) -> str:
        """Why what was used is not all read, or not all taken by the store; empty while it is."""
        reason = self._patience.reason
        return "; ".join(filter(None, (self._unreadable, self._fold.failures.complaint, "" if reason is None else str(reason))))

    async def run(self) -> None:
        """Fold until cancelled."""
        while True:
            began = time.monotonic()
            every = await self.turn()
            # At least one turn of the event loop for everybody else, however much there is to read.
            await asyncio.sleep(max(0.0, began + every - time.monotonic()))

    async def turn(self) -> float:
        """One round; returns the seconds from its beginning to the next one's."""
        try:
            every = await self._turn()
        except OSError as error:
            # What was not read waits in its files. To end for it would take console and health away with the counting.
            if not self._unreadable:
                _log.error("the spools in data_dir cannot be read (%s); trying again", error.strerror)
            self._unreadable = told(error)
            return UNREADABLE_EVERY
        self._unreadable = ""
        return every

    async def _turn(self) -> float:
        if not self._fold.restored.is_set() and not await self._try("restore", self._fold.restore):
            return IDLE_EVERY
        events = self._fold.count()
        # Only what was there when the turn began. Under load something always comes in meanwhile, and if that began the
        # next one, turns would be short, and each request would have a row to itself.
        more = self._fold.has_more
        if self._clock() >= self._verify_at and await self._try("verify", self._fold.verify):
            self._verify_at = self._clock() + VERIFY_EVERY
        if await self._try("now", lambda: self._fold.apply(NOW)):
            more = more or self._fold.trails(NOW)
        spread = self._fold.rows() > CHEAP_ROWS
        if not spread or self._clock() >= self._details_at:
            await self._bring_details()
        if more:
            return 0.0
        if spread:
            return SPREAD_EVERY
        return BUSY_EVERY if events else IDLE_EVERY

    async def finish(self, within: float) -> bool:
        """Read to the end and bring it into the store; False when that took longer than `within` seconds.

        The end is where it was at first: at a reload workers go on writing, and the next process reads on from there.
        """
        deadline = time.monotonic() + within
        until: Mapping[str, int] | None = None
        while time.monotonic() < deadline:
            self._patience.hurry()
            self._fold.hurry()
            self._details_at = 0.0
            await self.turn()
            is_done = self._fold.restored.is_set() and not self.complaint
            if is_done and until is None and self._ends is not None:
                # Behind a turn that has seen every spool: of one that is not known nothing would be waited for.
                until = self._ends()
            if is_done and not self._fold.uncounted(until) and not self._fold.backlog(until):
                return True
            await asyncio.sleep(0.02)
        return False

    async def _bring_details(self) -> None:
        await self._try("details", lambda: self._fold.apply(DETAILS))
        # A little at a time: the rest follows in the next turns, between which everybody else is served.
        if self._fold.lag(DETAILS) <= self._fold.lag(NOW):
            self._details_at = self._clock() + DETAILS_EVERY

    async def _try(self, name: str, act: Callable[[], Awaitable[object]]) -> bool:
        if self._patience.rests(name):
            return False
        complained = self._patience.reason is not None
        try:
            await act()
        except StoreUnavailable as error:
            if not complained:
                level = logging.DEBUG if isinstance(error, StoreNotAdopted) else logging.WARNING
                _log.log(level, "use is kept in the spool until the store takes it: %s", error)
            self._patience.failed(name, error)
            # A store that was away may have fallen back. While only a part of it is, this is asked at every turn.
            self._verify_at = min(self._verify_at, self._clock() + RETRY_MOST) if isinstance(error, ShardsAway) else 0.0
            return False
        self._patience.succeeded(name)
        if complained and self._patience.reason is None:
            _log.info("the store takes use again")
        return True
