"""The keys that a soak uses: made, used, revoked and asked again while everything else goes wrong."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter

from tests.support.sidecar import Sidecar

LIVE = 6
DEAD_WITHIN = 2.5
"""Seconds after the answer to a revocation: the promised two, and what this program needs to look at its own clock."""


class SoakKey:
    """A key and what became of its requests."""

    def __init__(self, key_id: str, secret: str, limited: bool) -> None:
        self.id = key_id
        self.secret = secret
        self.limited = limited
        self.completed = 0
        """Requests whose whole answer of 200 was read."""
        self.dying = False
        self.dead_from: float | None = None
        """Monotonic seconds from which nothing may be served any more."""


class Keys:
    """Live keys to use, dead ones to probe."""

    def __init__(self, sidecar: Sidecar, chance: random.Random) -> None:
        self._sidecar = sidecar
        self._chance = chance
        self.live: list[SoakKey] = []
        self.dead: list[SoakKey] = []
        self.acts: Counter[str] = Counter()

    def all(self) -> list[SoakKey]:
        """Every key there ever was."""
        return self.live + self.dead

    def pick(self) -> SoakKey:
        """A live key, now and then one that died."""
        if self.dead and self._chance.random() < 0.05:
            return self._chance.choice(self.dead[-20:])
        return self._chance.choice(self.live)

    async def fill(self) -> None:
        """Make keys until there are enough."""
        while len(self.live) < LIVE:
            await self._create()

    async def churn(self, stop: asyncio.Event) -> None:
        """Make and revoke keys, for as long as the soak runs; what fails is tried again later."""
        while not stop.is_set():
            await asyncio.sleep(self._chance.uniform(2, 6))
            try:
                await self._create()
                await self._revoke(self._chance.choice(self.live))
            except (OSError, AssertionError):
                self.acts["failed"] += 1

    async def _create(self) -> None:
        limited = self._chance.random() < 0.3
        limits = {"rpm": 1_000_000, "max_concurrency": 1000} if limited else {}
        key_id, secret = await asyncio.to_thread(self._sidecar.create_key, name=f"soak {len(self.all())}", limits=limits)
        self.live.append(SoakKey(key_id, secret, limited))
        self.acts["created"] += 1

    async def _revoke(self, key: SoakKey) -> None:
        key.dying = True
        answer = await asyncio.to_thread(self._sidecar.admin, "POST", f"/keys/{key.id}/revoke")
        if answer.status == 200:
            key.dead_from = time.monotonic() + DEAD_WITHIN
            self.live.remove(key)
            self.dead.append(key)
            self.acts["revoked"] += 1
        else:
            self.acts["failed"] += 1
