"""Deletes spool segments that the store has for good: on its disk or on a replica, or, where there is neither, for an hour."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from sidecar.control.folding.claims import Claims
from sidecar.control.folding.fold import Fold
from sidecar.control.folding.ledger import Ledger
from sidecar.control.folding.spools import Spools
from sidecar.events.spool import Segment
from sidecar.store.client import StoreUnavailable

UNPROVEN_AGE = 3600.0
"""Seconds that a segment is kept when the store cannot prove that it would survive a crash."""

_log = logging.getLogger(__name__)


class Durable(Protocol):
    """The part of the store that is used."""

    async def durable(self) -> bool:
        """Whether everything written so far would survive the loss of a server."""


class Sweep:
    """One control process's clearing up; `clock` counts seconds."""

    def __init__(
        self, spools: Spools, fold: Fold, ledger: Ledger, claims: Claims, store: Durable, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._spools = spools
        self._fold = fold
        self._ledger = ledger
        self._claims = claims
        self._store = store
        self._clock = clock
        self._waiting: dict[Path, float] = {}
        self._forgotten: dict[str, float] = {}
        self._complained = False

    async def quietly(self) -> None:
        """`sweep`, where a store that cannot be asked, or a directory that cannot be read or written, only means later."""
        try:
            gone = await self.sweep()
        except StoreUnavailable:
            return
        except OSError as error:
            # Mostly for want of a descriptor. To end for it would take console and health away with the clearing up.
            if not self._complained:
                _log.warning("spool segments cannot be cleared away (%s: %s); trying again", error.filename, error.strerror)
            self._complained = True
            return
        self._complained = False
        if gone:
            _log.debug("deleted %d spool segments", gone)

    async def sweep(self) -> int:
        """Delete what may go; returns how many segments went. Raises StoreUnavailable and OSError."""
        gone = await self._delete()
        await self._forget()
        return gone

    async def _delete(self) -> int:
        now = self._clock()
        ready = {segment.path: spool_id for spool_id in list(self._spools.ids) for segment in self._droppable(spool_id)}
        self._waiting = {path: self._waiting.get(path, now) for path in ready}
        if not ready:
            return 0
        if not await self._store.durable():
            ready = {path: spool_id for path, spool_id in ready.items() if now - self._waiting[path] >= UNPROVEN_AGE}
        # A store that was restarted in between has lost what was written last; its positions tell.
        await self._fold.verify()
        gone = 0
        for spool_id in set(ready.values()) & set(self._spools.ids):
            for segment in self._droppable(spool_id):
                if segment.path in ready:
                    segment.path.unlink(missing_ok=True)
                    self._waiting.pop(segment.path, None)
                    gone += 1
        return gone

    async def _forget(self) -> None:
        # Late: a command of a control process that died may still be under way to the store.
        now = self._clock()
        self._forgotten = {spool_id: self._forgotten.get(spool_id, now) for spool_id in self._claims.gone()}
        old = [spool_id for spool_id, since in self._forgotten.items() if now - since >= UNPROVEN_AGE]
        if old:
            # A store that is not the known one has nothing of them, and what the known one has would never go.
            await self._claims.check()
            await self._ledger.forget(old)
            await self._claims.release(old)
        await self._claims.drop_lost()

    def _droppable(self, spool_id: str) -> list[Segment]:
        found: list[Segment] = []
        # A file whose size cannot be told stays, and the fold complains of it; those of other spools go.
        with suppress(OSError):
            for segment in self._spools.droppable(spool_id, self._fold.applied(spool_id)):
                found.append(segment)
        return found
