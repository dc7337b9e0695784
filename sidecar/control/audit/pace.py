"""How many events of the audit log are read at a time. Pure.

A change of a key with long lists is an event of hundreds of kilobytes. Five hundred of them do not come within the
deadline of a trip, and then neither page nor export nor check would ever be answered.
"""

from __future__ import annotations

from collections.abc import Sequence

Entry = tuple[bytes, list[bytes]]
"""Id (`7-0` is the event with sequence number 7) and fields of an entry of the stream."""

FIRST = 8
MOST = 100
"""Events of the first trip, and of any at most."""
BYTES = 2 << 20
"""Bytes that a trip should bring."""


class Pace:
    """Few at first, then as many as had BYTES together by what the last ones had; `count` is for the next trip."""

    def __init__(self) -> None:
        self.count = FIRST

    def took(self, entries: Sequence[Entry]) -> None:
        """Learn from what the last trip brought."""
        size = sum(len(value) for _, fields in entries for value in fields)
        self.count = max(1, min(MOST, BYTES * len(entries) // size)) if size else MOST
