"""A stretch of events, summed, and what it changes in the store."""

from __future__ import annotations

from sidecar.control.folding.ledger import NOW
from sidecar.control.folding.work import Planner, Work
from sidecar.control.metrics.counts import Delta
from sidecar.control.totals.sums import Sums


class Planned:
    """A chunk's events beyond an offset, summed; what is made of the sums is made once."""

    def __init__(self, records: list[bytes], sums: Sums, counts: Delta, planner: Planner) -> None:
        self.records = records
        self.sums = sums
        self.counts = counts
        self._planner = planner
        self._works: dict[str, dict[int, Work]] = {}

    def works(self, lane: str) -> dict[int, Work]:
        """What the stretch changes in the store in a lane, by shard."""
        works = self._works.get(lane)
        if works is None:
            works = self._planner.now(self.sums, self.counts) if lane == NOW else self._planner.details(self.sums)
            self._works[lane] = works
        return works
