"""A fold over a spool directory and a real store."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sidecar.control.folding.claims import Claims
from sidecar.control.folding.fold import Fold
from sidecar.control.folding.ledger import LANES, Ledger
from sidecar.control.folding.observer import EventObserver
from sidecar.control.folding.spools import Spools
from sidecar.control.folding.work import Planner
from sidecar.control.metrics.counts import Counter
from sidecar.control.metrics.keys import LabelledKeys
from sidecar.control.metrics.state import Counts
from sidecar.control.networks import network_of
from sidecar.control.queries import UsageGroup, UsageReport
from sidecar.control.totals.series import Retention, SeriesBuilder
from sidecar.control.usage.calls import Calls
from sidecar.control.usage.reports import Reports
from sidecar.events.record import Event
from sidecar.events.spool import SpoolWriter
from sidecar.events.wire import encode
from sidecar.store.client import Store

RETENTION = Retention(minutes=14 * 86400, hours=400 * 86400)


class Folding:
    """One control process's fold, as `control.process` composes it."""

    def __init__(
        self, directory: Path, store: Store, *, instance: str = "i1", max_keys: int = 100, observers: Sequence[EventObserver] = ()
    ) -> None:
        self.spools = Spools(directory)
        self.ledger = Ledger(store, instance)
        self.now = 0.0
        self.claims = Claims(store, self.ledger, self.spools, directory, _allow, lambda: self.now)
        self.counts = Counts()
        self.keys = LabelledKeys(max_keys)
        self.fold = Fold(
            self.spools,
            self.ledger,
            counter=Counter(self.keys.label),
            counts=self.counts,
            planner=Planner(SeriesBuilder(RETENTION), network=network_of, active_for=RETENTION.hours),
            guard=self.claims.guard,
            claim=self.claims.claim,
            observers=observers,
        )

    async def run(self) -> None:
        """Read everything there is, and bring it into the store."""
        if not self.fold.restored.is_set():
            await self.fold.restore()
        self.fold.hurry()
        while True:
            events = self.fold.count()
            await self.apply()
            if not events and not self.fold.backlog():
                return

    async def apply(self) -> None:
        """Bring a stretch into the store, in both lanes."""
        for lane in LANES:
            await self.fold.apply(lane)

    def requests(self, key_id: str) -> int:
        """What /metrics has counted for a key."""
        return sum(self.counts.keys.get(key_id, {}).get("r", {}).values())


async def _allow() -> None:
    return


def writer(directory: Path, *, segment_bytes: int = 1 << 20) -> SpoolWriter:
    directory.mkdir(exist_ok=True)
    return SpoolWriter(directory, segment_bytes=segment_bytes, max_bytes=1 << 30)


def write(spool: SpoolWriter, *events: Event) -> None:
    for event in events:
        assert spool.append(encode(event))


def usage_of(store: Store, clock: Callable[[], float] = time.time) -> Reports:
    async def owners(key_ids: list[str]) -> dict[str, str]:
        return {key_id: "team-" + key_id[-1] for key_id in key_ids}

    return Reports(store, Calls(store), owners, RETENTION, clock)


async def groups_in(report: UsageReport) -> list[UsageGroup] | None:
    """All its groups; they can be asked for once."""
    return None if report.groups is None else [group async for group in report.groups.each]
