"""Anomalies for the admin API and the console: pages of them, and what people say to one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from sidecar.control.anomaly import verdicts
from sidecar.control.anomaly.document import document
from sidecar.control.anomaly.engine import Engine
from sidecar.control.anomaly.index import FOR_EVER
from sidecar.control.anomaly.record import Anomaly
from sidecar.control.queries import Anomalies, Judged

_CURSOR = re.compile(r"(\d+\.\d{6}):([A-Za-z0-9_]+)")
LONGEST_STEP = 500
"""Records that are read in one go."""
MOST_READ = 2000
"""Records that one page may read; a page may be short, even empty, and still have a next one."""


class AnomalyService:
    """Answers from the store; what concerns an open episode goes to the detectors as well. `clock` gives Unix seconds."""

    def __init__(self, engine: Engine, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._storage = engine.storage
        self._index = engine.storage.index
        self._clock = clock

    async def anomalies(self, *, key_id: str | None, state: str | None, level: str | None, limit: int, cursor: str) -> Anomalies:
        """One page, newest first. ValueError for a cursor of somebody else's; StoreUnavailable."""
        after = _after(cursor)
        found: list[Anomaly] = []
        count, read, more = limit + 1, 0, True
        while more and len(found) <= limit and read < MOST_READ:
            places, more = await self._index.places(after, count, key_id=key_id, only_open=state == "open")
            if places:
                after = places[-1].start, places[-1].id
            found += [one for one in await self._index.records(places) if _is_wanted(one, key_id, state, level)]
            count, read = min(2 * count, LONGEST_STEP), read + len(places)
        page = found[:limit]
        if len(found) > limit:
            after = page[-1].started_at, page[-1].id
        elif not more:
            return Anomalies([document(one) for one in page])
        return Anomalies([document(one) for one in page], f"{after[0]:.6f}:{after[1]}")

    async def open_of(self, key_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Open anomalies of these keys; StoreUnavailable."""
        return [document(one) for one in await self._index.latest_of(key_ids) if one.state == "open"] if key_ids else []

    async def acknowledge(self, anomaly_id: str, reason: str, actor: str) -> Judged:
        """Close an anomaly, unless somebody has; LookupError, StoreUnavailable."""
        await self._engine.take_over()
        mine = self._mine(anomaly_id)
        if mine is not None:
            before = document(mine)
            verdicts.acknowledge(self._engine.observer, mine, self._clock(), actor, reason)
            self._engine.unsaved.add(mine)
            await self._engine.save_now()
            return Judged(before, document(mine))
        stored = await self._stored(anomaly_id)
        before = document(stored)
        if stored.state != "acknowledged":
            if stored.key_id:
                await self._engine.know(stored.key_id)
            verdicts.settle(stored, self._clock(), actor, reason)
            verdicts.learn(self._engine.observer, stored)
            await self._engine.save_apart(stored, muted=False)
        return Judged(before, document(stored))

    async def mute(self, anomaly_id: str, until: float) -> Judged:
        """Silence an anomaly's signals for its subject until a time; LookupError, StoreUnavailable."""
        await self._engine.take_over()
        mine = self._mine(anomaly_id)
        if mine is not None:
            before = document(mine)
            self._silence(mine, until)
            self._engine.unsaved.add(mine, muted=True)
            await self._engine.save_now()
            return Judged(before, document(mine))
        stored = await self._stored(anomaly_id)
        before = document(stored)
        if stored.key_id:
            await self._engine.know(stored.key_id)
        self._silence(stored, until)
        await self._engine.save_apart(stored, muted=True)
        return Judged(before, document(stored))

    def _silence(self, anomaly: Anomaly, until: float) -> None:
        if self._engine.detects:
            self._engine.unsaved.note(verdicts.mute(self._engine.observer, anomaly, until, int(self._clock())))
        else:
            # Whoever does is told of it.
            anomaly.muted_until = until

    def _mine(self, anomaly_id: str) -> Anomaly | None:
        return next((one for one in self._engine.observer.episodes.open.values() if one.id == anomaly_id), None)

    async def _stored(self, anomaly_id: str) -> Anomaly:
        stored = await self._storage.anomaly(anomaly_id)
        if stored is None:
            raise LookupError(anomaly_id)
        return stored


def _after(cursor: str) -> tuple[float, str]:
    if not cursor:
        return FOR_EVER, ""
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise ValueError("not a cursor of this list")
    return float(match[1]), match[2]


def _is_wanted(anomaly: Anomaly, key_id: str | None, state: str | None, level: str | None) -> bool:
    return key_id in (None, anomaly.key_id) and state in (None, anomaly.state) and level in (None, anomaly.level)
