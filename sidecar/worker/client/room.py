"""Memory for request bodies that are read whole, so that a few keys with large bodies cannot use up the worker's."""

from __future__ import annotations

from sidecar.refusals import OVERLOADED, Refused


class Room:
    """`size` bytes that all requests of a worker share."""

    def __init__(self, size: int) -> None:
        self.free = size

    def take(self, size: int) -> None:
        """Take `size` bytes. Raises Refused(overloaded) when there are not as many."""
        if size > self.free:
            raise Refused(OVERLOADED)
        self.free -= size

    def give_back(self, size: int) -> None:
        """Undo `take`."""
        self.free += size
