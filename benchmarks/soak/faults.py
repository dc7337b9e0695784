"""What goes wrong during a soak: processes are killed or frozen, the configuration is read anew, the hub stops for a while."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable

from tests.support.raw_hub import RawHubProcess
from tests.support.sidecar import Sidecar


class Faults:
    """One fault after the other, at random."""

    def __init__(self, sidecar: Sidecar, hub: RawHubProcess, chance: random.Random, pause: float) -> None:
        self._sidecar = sidecar
        self._hub = hub
        self._chance = chance
        self._pause = pause
        self.done: Counter[str] = Counter()
        self._kinds: dict[str, tuple[Callable[[], Awaitable[None]], int]] = {
            "worker killed": (lambda: self._kill("worker"), 3),
            "control process killed": (lambda: self._kill("control"), 2),
            "store killed": (lambda: self._kill("store"), 2),
            "worker frozen": (lambda: self._freeze("worker"), 1),
            "store frozen": (lambda: self._freeze("store"), 2),
            "control process frozen": (lambda: self._freeze("control"), 1),
            "hub frozen": (self._freeze_hub, 2),
            "configuration read anew": (self._reload, 1),
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Do damage until it is enough."""
        names = list(self._kinds)
        weights = [self._kinds[name][1] for name in names]
        while not stop.is_set():
            await asyncio.sleep(self._chance.uniform(0.5, 1.5) * self._pause)
            if stop.is_set():
                return
            (name,) = self._chance.choices(names, weights)
            await self._kinds[name][0]()
            self.done[name] += 1

    async def _kill(self, role: str) -> None:
        if victims := self._sidecar.children(role):
            _signal(self._chance.choice(victims), signal.SIGKILL)

    async def _freeze(self, role: str) -> None:
        if victims := self._sidecar.children(role):
            await self._hold(self._chance.choice(victims))

    async def _freeze_hub(self) -> None:
        await self._hold(self._hub.process.pid)

    async def _hold(self, pid: int) -> None:
        _signal(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(self._chance.uniform(0.3, 4))
        finally:
            _signal(pid, signal.SIGCONT)

    async def _reload(self) -> None:
        assert self._sidecar.process is not None
        _signal(self._sidecar.process.pid, signal.SIGHUP)


def _signal(pid: int, number: int) -> None:
    # It may have been killed before, or replaced by now.
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
