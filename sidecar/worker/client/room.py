"""Memory for request bodies that are read whole, so that a few keys with large bodies cannot use up the worker's."""

from __future__ import annotations

from sidecar.refusals import OVERLOADED, Refused
from sidecar.worker.fair_share import has_place


class Room:
    """`size` bytes that all requests of a worker share; a key may hold at most twice as many as are free."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: dict[str | None, int] = {}
        self.free = size

    def take(self, key_id: str | None, size: int, own: int) -> None:
        """Take `size` bytes for a request of `key_id` that has `own` already; None where it is not known yet whose it is.

        Raises Refused(overloaded) when there are not as many, or the key's other requests hold its share. One alone is
        held to none: it may take what the largest body needs, though that is all there is.
        """
        held = self._held.get(key_id, 0)
        others = held - own if key_id is not None else 0
        if size > self.free or (others and not has_place(others, self._size - self.free, self._size)):
            raise Refused(OVERLOADED)
        self._held[key_id] = held + size
        self.free -= size

    def give_back(self, key_id: str | None, size: int) -> None:
        """Undo `take`."""
        self.free += size
        self._held[key_id] -= size
        if not self._held[key_id]:
            del self._held[key_id]
