"""How far one spool has been read, shard by shard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sidecar.store.names import SHARDS


def _zeros() -> list[int]:
    return [0] * SHARDS


@dataclass(slots=True)
class Cursor:
    """Offsets in a spool.

    `counted`: what /metrics has counted. `stored`: the position that the store gave last. `applied`: up to
    where the store has everything; it runs ahead of `stored` over stretches that hold nothing for a shard.
    """

    counted: list[int] = field(default_factory=_zeros)
    stored: list[int] = field(default_factory=_zeros)
    applied: list[int] = field(default_factory=_zeros)

    @classmethod
    def at(cls, positions: list[int]) -> Cursor:
        """A cursor that goes on from where the store is."""
        return cls(positions[:], positions[:], positions[:])

    def correct(self, shard: int, position: int) -> bool:
        """The store is at `position`: read again from there when that is not where it was thought to be; whether so."""
        if position == self.stored[shard]:
            return False
        self.stored[shard] = self.applied[shard] = position
        return True

    def advance(self, shard: int, position: int) -> None:
        """The store has taken everything up to `position`."""
        self.stored[shard] = self.applied[shard] = position


def groups(positions: list[int], end: int) -> Iterator[tuple[int, list[int]]]:
    """The shards that are short of `end`, by where they are; nearly always it is one group."""
    by_position: dict[int, list[int]] = {}
    for shard, position in enumerate(positions):
        if position < end:
            by_position.setdefault(position, []).append(shard)
    yield from by_position.items()
