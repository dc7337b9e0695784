"""What the fold promises to those who want to see the events that pass through it."""

from __future__ import annotations

from typing import Protocol

from sidecar.control.totals.sums import Sums


class EventObserver(Protocol):
    """Sees every stretch of events once, as soon as it is read."""

    def observe(self, spool_id: str, records: list[bytes], sums: Sums) -> None:
        """Take in what a stretch of a spool holds."""

    def retire(self, spool_id: str) -> None:
        """The spool has been read to its end and is gone."""
