"""Which keys have series of their own: at most `metrics.max_keys`, the rest are counted together.

A place is taken when a key is first seen and kept until the key has been revoked and not been tried for a day,
or, when others wait, until it was idle for 30 days.
"""

from __future__ import annotations

from collections.abc import Iterable

from sidecar.control.metrics.counts import OVERFLOW
from sidecar.keys.record import Key

REVOKED_GRACE = 86_400.0
"""Seconds that a revoked key keeps its series after somebody last tried it."""
IDLE = 30 * 86_400.0
"""Seconds without use after which a key gives its place to another that waits."""
_AHEAD = 86_400.0
"""Seconds by which a use may lie ahead; the store takes no more for its latest either (ledger.lua)."""


class LabelledKeys:
    """The keys with series of their own, with what is known of each."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.records: dict[str, Key | None] = {}
        """By id, in the order of admission; None while the record is still to be read."""
        self.last_used: dict[str, float] = {}
        self.overflowing = 0
        """Keys that exist beyond the limit; set by whoever counts the keys of the store."""
        self._waiting = False

    def label(self, key_id: str) -> str:
        """The key_id label under which a key is counted; takes a place when there is one."""
        if key_id in self.records or key_id == OVERFLOW:
            return key_id
        if len(self.records) >= self.limit:
            self._waiting = True
            return OVERFLOW
        self.records[key_id] = None
        return key_id

    def put(self, key: Key, now: float) -> None:
        """Take note of a key's record, and give it a place when there is one."""
        if key.id not in self.records and self._is_dead(key, now):
            return
        if self.label(key.id) != OVERFLOW:
            self.records[key.id] = key

    def used(self, key_id: str, time: float) -> None:
        """Note a use."""
        if time > self.last_used.get(key_id, 0.0) and key_id in self.records:
            self.last_used[key_id] = time

    def doubt(self, now: float) -> None:
        """Forget last uses of which a clock told that was put back since."""
        for key_id in [key_id for key_id, time in self.last_used.items() if time > now + _AHEAD]:
            del self.last_used[key_id]

    def unread(self) -> list[str]:
        """Keys that are counted but whose record is not known yet."""
        return [key_id for key_id, key in self.records.items() if key is None]

    def without_place(self, alive: int) -> int:
        """How many keys have none, when `alive` keys are not revoked; none wait while there are places."""
        return max(0, self._waiting_of(alive)) if len(self.records) >= self.limit else 0

    def is_crowded(self, alive: int) -> bool:
        """Whether there are fewer places left than keys that have none, when `alive` keys are not revoked."""
        return self._waiting_of(alive) > self.limit - len(self.records)

    def retire(self, now: float) -> list[str]:
        """Give up the places that nobody needs any more; their ids."""
        gone = [key_id for key_id, key in self.records.items() if key is not None and self._is_over(key, now)]
        self.drop(gone)
        self._waiting = False
        return gone

    def drop(self, key_ids: Iterable[str]) -> None:
        """Give up places."""
        for key_id in key_ids:
            self.records.pop(key_id, None)
            self.last_used.pop(key_id, None)

    def _waiting_of(self, alive: int) -> int:
        return alive - sum(key is None or key.revoked_at is None for key in self.records.values())

    def _is_over(self, key: Key, now: float) -> bool:
        if self._is_dead(key, now):
            return True
        idle_since = max(key.created_at, self.last_used.get(key.id, 0.0))
        return (self._waiting or self.overflowing > 0) and now - idle_since >= IDLE

    def _is_dead(self, key: Key, now: float) -> bool:
        """A revoked key that somebody still tries is worth its place."""
        return key.revoked_at is not None and now - max(key.revoked_at, self.last_used.get(key.id, 0.0)) >= REVOKED_GRACE
