"""How far one spool has been read, shard by shard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sidecar.store.names import SHARDS


def _zeros() -> list[int]:
    return [0] * SHARDS


@dataclass(slots=True)
class Place:
    """Where the store is with one lane of a spool.

    `stored` is the position that the store gave last. `applied` is up to where it has everything; it runs
    ahead of `stored` over stretches that hold nothing for a shard.
    """

    stored: list[int] = field(default_factory=_zeros)
    applied: list[int] = field(default_factory=_zeros)

    def correct(self, shard: int, position: int) -> bool:
        """The store is at `position`: read again from there when that is not where it was thought to be; whether so."""
        if position == self.stored[shard]:
            return False
        self.stored[shard] = self.applied[shard] = position
        return True

    def advance(self, shard: int, position: int) -> None:
        """The store has taken everything up to `position`."""
        self.stored[shard] = self.applied[shard] = position


@dataclass(slots=True)
class Cursor:
    """Offsets in a spool: what /metrics has counted, and where the store is, lane by lane."""

    counted: list[int] = field(default_factory=_zeros)
    lanes: dict[str, Place] = field(default_factory=dict)

    def lane(self, name: str) -> Place:
        """The place of a lane, its beginning when nothing is known."""
        place = self.lanes.get(name)
        if place is None:
            place = self.lanes[name] = Place()
        return place

    def applied(self) -> int:
        """Up to where the store has everything."""
        return min((min(place.applied) for place in self.lanes.values()), default=0)


def groups(positions: list[int], end: int, shards: list[int]) -> Iterator[tuple[int, list[int]]]:
    """Those of `shards` that are short of `end`, by where they are; nearly always it is one group."""
    by_position: dict[int, list[int]] = {}
    for shard in shards:
        if positions[shard] < end:
            by_position.setdefault(positions[shard], []).append(shard)
    yield from by_position.items()
