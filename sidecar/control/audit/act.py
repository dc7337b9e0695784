"""An act under way, and how it says that it came to nothing."""

from __future__ import annotations

from msgspec.structs import replace

from sidecar.control.audit.event import Change, Event, Party


class Unchanged(Exception):
    """Raised out of an act that was refused: nothing was changed, so nothing is recorded."""


class Act:
    """Its maker fills in what only the act itself reveals."""

    def __init__(self, event: Event) -> None:
        self.event = event

    def on(self, target: Party, changes: dict[str, Change] | None = None) -> None:
        """Say what was acted on and what changed in it."""
        self.event = replace(self.event, target=target, changes=changes or {})
