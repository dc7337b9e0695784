"""Keeps the sums of the latest stretches for the details, which come after the rest and need not add them up again."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from sidecar.control.totals.sums import Sums

MOST_BYTES = 32 << 20
"""Bytes of spools whose sums are kept."""
MOST_ROWS = 20_000
"""Rows that are handed out at once: what they change in the store is worked out without a pause."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Sums of all that lies from `start` to `end` of a spool."""

    start: int
    end: int
    sums: Sums


class Kept:
    """Stretches of each spool that follow each other; with more than `most_bytes` it begins anew, for the spool has them too."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._stretches: dict[str, deque[Stretch]] = {}
        self._bytes = 0

    def put(self, spool_id: str, stretch: Stretch) -> None:
        """Keep the next stretch of a spool."""
        kept = self._stretches.setdefault(spool_id, deque())
        if self._bytes + stretch.end - stretch.start > self._most_bytes or (kept and kept[-1].end != stretch.start):
            self.clear()
            kept = self._stretches.setdefault(spool_id, deque())
        kept.append(stretch)
        self._bytes += stretch.end - stretch.start

    def following(self, spool_id: str, start: int) -> Stretch | None:
        """What is kept from exactly `start` on, as one; forgets what lies before. None when nothing is."""
        kept = self._stretches.get(spool_id) or deque()
        while kept and kept[0].start < start:
            gone = kept.popleft()
            self._bytes -= gone.end - gone.start
        if not kept or kept[0].start != start:
            return None
        together, end = Sums(), start
        for stretch in kept:
            if end > start and together.size + stretch.sums.size > MOST_ROWS:
                break
            together.join(stretch.sums)
            end = stretch.end
        return Stretch(start, end, together)

    def clear(self) -> None:
        """Forget everything."""
        self._stretches.clear()
        self._bytes = 0

    def retire(self, spool_id: str) -> None:
        """Forget a spool."""
        for gone in self._stretches.pop(spool_id, ()):
            self._bytes -= gone.end - gone.start
