"""Memory and descriptors of the sidecar's processes over time."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from typing import NamedTuple

import psutil

from tests.support.sidecar import Sidecar

ROLES = ("worker", "control", "store")


class Sample(NamedTuple):
    """One look at one process."""

    at: float
    role: str
    pid: int
    resident: int
    descriptors: int


class Growth(NamedTuple):
    """How a role's memory developed over the whole soak, in bytes: the median of an early and of the last fifth."""

    early: float
    late: float
    largest: int


class Watch:
    """Samples every process every few seconds."""

    def __init__(self, sidecar: Sidecar, interval: float) -> None:
        self._sidecar = sidecar
        self._interval = interval
        self.samples: list[Sample] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Look until told to stop."""
        while not stop.is_set():
            self.look()
            await asyncio.sleep(self._interval)

    def look(self) -> list[Sample]:
        """One sample of each process that is there."""
        now = time.monotonic()
        found = []
        for role in ROLES:
            for pid in self._sidecar.children(role):
                with contextlib.suppress(psutil.Error):
                    process = psutil.Process(pid)
                    found.append(Sample(now, role, pid, process.memory_info().rss, process.num_fds()))
        self.samples += found
        return found

    def growth(self, role: str) -> Growth:
        """Of the processes of `role`, killed ones and their successors taken together."""
        taken = [sample for sample in self.samples if sample.role == role]
        part = max(1, len(taken) // 5)
        early, late = taken[part : 2 * part] or taken, taken[-part:]
        return Growth(
            statistics.median(sample.resident for sample in early),
            statistics.median(sample.resident for sample in late),
            max(sample.resident for sample in taken),
        )
