"""Finds anomalies by what people ask for: of a key, open, or all; newest first, without reading those that are not wanted.

The sorted sets are written in the script that writes the records. A store that an older version wrote, or
writes still, lacks entries: that shows in the counts, which come with every answer, and is mended at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from sidecar.control.anomaly import record
from sidecar.control.anomaly.record import Anomaly
from sidecar.store import names
from sidecar.store.client import Store
from sidecar.store.link import Command

FOR_EVER = 1e12
"""A start that no anomaly has."""
LATEST_OF_KEY = 3
"""Anomalies of a key among which its open one is: a new one begins when the last one is over."""


@dataclass(frozen=True, slots=True)
class Place:
    """One anomaly in the order of lists: newest first, then by id."""

    start: float
    id: str
    shard: int

    @property
    def order(self) -> tuple[float, str]:
        """What to sort by."""
        return -self.start, self.id


class AnomalyIndex:
    """Everything raises StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def places(self, after: tuple[float, str], count: int, *, key_id: str | None, only_open: bool) -> tuple[list[Place], bool]:
        """Up to `count` places behind `after` (start and id), in order, and whether there may be more.

        Of a key when there is a `key_id`, else of all that are open, or of all.
        """
        asked = count
        while True:
            found, full = await self._read(after[0], asked, key_id, only_open)
            # Where a shard gave all that it was asked for, it may hold more of the same start as its last.
            sure = max((shard[-1].start for shard in full), default=float("-inf"))
            fresh = sorted((place for place in found if place.start > sure and place.order > (-after[0], after[1])), key=_order)
            if fresh or not full:
                return fresh[:count], bool(full) or len(fresh) > count
            asked *= 2

    async def records(self, places: Sequence[Place]) -> list[Anomaly]:
        """What is at `places`, in their order; what is gone or cannot be read is left out."""
        shards = sorted({place.shard for place in places})
        ids = {shard: [place.id for place in places if place.shard == shard] for shard in shards}
        replies = await self._store.pipeline([("HMGET", names.anomalies(shard), *ids[shard]) for shard in shards])
        found = {
            (shard, id_): data for shard, reply in zip(shards, replies, strict=True) for id_, data in zip(ids[shard], reply, strict=True)
        }
        return readable(found[place.shard, place.id] for place in places)

    async def latest_of(self, subjects: Sequence[str]) -> list[Anomaly]:
        """The latest few of each key or network, newest first."""
        shards = sorted({names.shard_of(subject) for subject in subjects})
        replies = await self._checked(shards, [_by_subject(subject, FOR_EVER, LATEST_OF_KEY) for subject in subjects])
        return await self.records(
            [_place(names.shard_of(subject), entry) for subject, reply in zip(subjects, replies, strict=True) for entry in reply]
        )

    async def _read(self, until: float, count: int, key_id: str | None, only_open: bool) -> tuple[list[Place], list[list[Place]]]:
        shards = list(range(names.SHARDS)) if key_id is None else [names.shard_of(key_id)]
        if key_id is not None:
            (reply,) = await self._checked(shards, [_by_subject(key_id, until, count)])
            by_shard = [[_place(shards[0], entry) for entry in reply]]
        else:
            name = names.anomaly_open if only_open else names.anomaly_index
            replies = await self._checked(shards, [_by_start(name(shard), until, count) for shard in shards])
            by_shard = [
                [Place(float(start), id_.decode(), shard) for id_, start in reply] for shard, reply in zip(shards, replies, strict=True)
            ]
        return [place for found in by_shard for place in found], [found for found in by_shard if len(found) == count]

    async def _checked(self, shards: Sequence[int], commands: Sequence[Command]) -> list[Any]:
        """The replies to `commands`, from sets that are as they should be in each of `shards`."""
        counts: list[Command] = [
            command for shard in shards for command in (("HLEN", names.anomalies(shard)), ("ZCARD", names.anomaly_subjects(shard)))
        ]
        replies = await self._store.pipeline([*counts, *commands])
        counted = replies[: len(counts)]
        broken = [shard for at, shard in enumerate(shards) if counted[2 * at] != counted[2 * at + 1]]
        for shard in broken:
            await self._mend(shard)
        return await self._store.pipeline(commands) if broken else replies[len(counts) :]

    async def _mend(self, shard: int) -> None:
        subjects, opened = names.anomaly_subjects(shard), names.anomaly_open(shard)
        # The entries first: what is saved after that is neither missed nor taken for left over.
        entries, ids = await self._store.pipeline([("ZRANGE", subjects, 0, -1), ("ZRANGE", opened, 0, -1)])
        stored = await self._store.call("HGETALL", names.anomalies(shard))
        wanted: set[bytes] = set()
        starts: dict[bytes, float] = {}
        for id_, data in stored.items():
            one = next(iter(readable([data])), None)
            wanted.add(entry_of(one).encode() if one is not None else _entry("", 0.0, id_.decode()).encode())
            if one is not None and one.state == "open":
                starts[id_] = one.started_at
        removed: list[Command] = [("ZREM", subjects, entry) for entry in sorted({*entries} - wanted)]
        removed += [("ZREM", opened, id_) for id_ in sorted({*ids} - starts.keys())]
        added: list[Command] = [("ZADD", subjects, 0, entry) for entry in sorted(wanted - {*entries})]
        added += [("ZADD", opened, f"{start:.6f}", id_) for id_, start in starts.items()]
        await self._store.pipeline([*removed, *added])


def readable(values: Iterable[bytes | None]) -> list[Anomaly]:
    """Records as anomalies; what is absent or cannot be read is left out."""
    found = []
    for data in values:
        try:
            if data:
                found.append(record.decode(data))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
    return found


def entry_of(anomaly: Anomaly) -> str:
    """What stands for an anomaly in `names.anomaly_subjects`."""
    return _entry(anomaly.name_of_subject, anomaly.started_at, anomaly.id)


def _entry(subject: str, start: float, id_: str) -> str:
    # As wide as any start, so that the order of the alphabet is that of time.
    return f"{subject}\0{start:020.6f}\0{id_}"


def _place(shard: int, entry: bytes) -> Place:
    _, start, id_ = entry.rsplit(b"\0", 2)
    return Place(float(start), id_.decode(), shard)


def _order(place: Place) -> tuple[float, str]:
    return place.order


def _by_subject(subject: str, until: float, count: int) -> Command:
    name = names.anomaly_subjects(names.shard_of(subject))
    return ("ZRANGE", name, f"({subject}\0{until:020.6f}\1", f"[{subject}\0", "BYLEX", "REV", "LIMIT", 0, count)


def _by_start(name: str, until: float, count: int) -> Command:
    return ("ZRANGE", name, f"{until:.6f}", "-inf", "BYSCORE", "REV", "LIMIT", 0, count, "WITHSCORES")
