"""How long a revocation took to get here: measured for each, of a bulk change for its first ones, so that the promise can be watched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sidecar.store.errors import StoreUnavailable
from sidecar.worker.open_requests import KeySource

MOST_AT_ONCE = 16
"""Changed keys that are looked at at a time; a bulk change is measured by its first ones."""
OLDEST = 60.0
"""Seconds; a revocation from before that was not news, its key was changed by something else."""


class Propagation:
    """Delays between revocations and their arrival in this worker, in seconds by the two machines' clocks."""

    def __init__(self, keys: KeySource, wall_clock: Callable[[], float]) -> None:
        self._keys = keys
        self._wall_clock = wall_clock
        self._looking: set[asyncio.Task[None]] = set()
        self._lags: list[float] = []

    def key_changed(self, key_id: str) -> None:
        """A change of the key has just been seen, and the key forgotten."""
        if len(self._looking) < MOST_AT_ONCE:
            task = asyncio.get_running_loop().create_task(self._look(key_id, self._wall_clock()))
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)

    def take(self) -> list[float]:
        """The delays since the last call."""
        lags, self._lags = self._lags, []
        return lags

    async def _look(self, key_id: str, seen_at: float) -> None:
        try:
            key = await self._keys.current(key_id)
        except StoreUnavailable:
            return
        if key is not None and key.revoked_at is not None and seen_at - key.revoked_at < OLDEST:
            self._lags.append(max(0.0, seen_at - key.revoked_at))
