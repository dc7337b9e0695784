"""Lists keys in other orders than newest first: oldest first, by name, by expiry, by last use.

Each order is a sorted set that is walked from where the page before ended. What counts is the record:
an entry that a crashed writer left behind shows no key in a place where it is not.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from sidecar.keys.cursor import place_in, text_of
from sidecar.keys.index_entries import CREATED, EXPIRES, NAME, SEPARATOR, expiry_entry, fold, name_entry
from sidecar.keys.reader import KeyReader
from sidecar.keys.record import Key
from sidecar.store import names
from sidecar.store.client import Store

Order = Literal["newest", "oldest", "name", "expires_at", "last_used_at"]
"""`expires_at` lists only keys that expire, soonest first; `last_used_at` only keys that were used, latest first."""

STEP = 100
"""Entries of a set that are read at a time."""
MOST_READ = 3000
"""Records that one page may read; a page may be short, even empty, and still have a next one."""
LONGEST_NAME = 150
"""Bytes of a name that a cursor holds, which has room for twice as many: JSON writes some with a backslash."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in an order; `tie` ends with the key's id."""

    value: float
    tie: str

    @property
    def key_id(self) -> str:
        """The key that is there."""
        return self.tie.rpartition(SEPARATOR)[2]


class Sequel(Protocol):
    """One order."""

    falling: bool
    """Whether later positions are smaller ones."""

    async def read(self, after: Position | None) -> list[Position]:
        """The next positions behind `after`, in order; none at the end."""

    def of(self, key: Key) -> Position | None:
        """Where `key` belongs; None when it has no place, or when only the store knows."""


class _ByScore:
    """A set whose scores are the order."""

    falling = False

    def __init__(self, store: Store, name: str, place: Callable[[Key], Position | None]) -> None:
        self._store = store
        self._name = name
        self.of = place

    async def read(self, after: Position | None) -> list[Position]:
        # By score, not by rank: an entry that goes before it is read would have another take its rank and be missed.
        low, count = "-inf" if after is None else repr(after.value), STEP
        while True:
            entries = await self._store.call("ZRANGE", self._name, low, "+inf", "BYSCORE", "LIMIT", 0, count, "WITHSCORES")
            found = [Position(float(score), self._tie(member)) for member, score in entries]
            # Those that share the time of `after` come again; what is not behind it is passed over.
            fresh = [position for position in found if after is None or position > after]
            if fresh or len(found) < count:
                return fresh[:STEP]
            count *= 2

    def _tie(self, member: bytes) -> str:
        # A line of CREATED begins with the id; an entry of EXPIRES is creation and id.
        return member.partition(b"\0")[0].decode() if self._name == CREATED else member.decode()


class _ByName:
    """A set in the order of the alphabet."""

    falling = False

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, after: Position | None) -> list[Position]:
        low = b"-" if after is None else b"(" + after.tie.encode()
        members = await self._store.call("ZRANGE", NAME, low, "+", "BYLEX", "LIMIT", 0, STEP)
        return [Position(0.0, member.decode()) for member in members]

    def of(self, key: Key) -> Position | None:
        return Position(0.0, name_entry(key))


class ByUse:
    """One set for each shard, kept by the ledger, latest use first."""

    falling = True

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, after: Position | None) -> list[Position]:
        """The next positions behind `after`."""
        found: list[Position] = []
        ends: list[Position] = []
        """Where shards stopped that may have more."""
        places = dict.fromkeys(range(names.SHARDS), 0)
        if after is not None:
            counts = await self._store.pipeline([("ZCOUNT", names.recent(shard), f"({after.value!r}", "+inf") for shard in places])
            places = dict(enumerate(counts))
        while places:
            replies = await self._store.pipeline(
                [("ZRANGE", names.recent(shard), rank, rank + STEP - 1, "REV", "WITHSCORES") for shard, rank in places.items()]
            )
            further: dict[int, int] = {}
            for (shard, rank), reply in zip(places.items(), replies, strict=True):
                positions = [Position(float(score), member.decode()) for member, score in reply]
                fresh = [position for position in positions if after is None or position < after]
                found += fresh
                if len(reply) == STEP:
                    if fresh:
                        ends.append(fresh[-1])
                    else:
                        further[shard] = rank + STEP
            places = further
        # A shard may have more than it told of: what lies behind its last one may come too early.
        sure = max(ends, default=None)
        return sorted((position for position in found if sure is None or position >= sure), reverse=True)[:STEP]

    def of(self, key: Key) -> Position | None:
        """Only the store knows."""
        del key
        return None


class Ordered:
    """Pages in one of the orders."""

    def __init__(self, store: Store, reader: KeyReader) -> None:
        self._store = store
        self._reader = reader
        self._sequels: dict[Order, Sequel] = {
            "oldest": _ByScore(store, CREATED, lambda key: Position(key.created_at, key.id)),
            "expires_at": _ByScore(store, EXPIRES, _expiry),
            "name": _ByName(store),
            "last_used_at": ByUse(store),
        }

    async def walk(self, order: Order, cursor: str | None, limit: int, matches: Callable[[Key], bool]) -> tuple[list[Key], str | None]:
        """A page of the keys that match, and where the next one begins; raises ValueError for a cursor of another list."""
        sequel = self._sequels[order]
        last = await self._after(order, cursor)
        found: list[Key] = []
        for _ in range(0, MOST_READ, STEP):
            positions = await sequel.read(last)
            records = await self._reader.get_many([position.key_id for position in positions]) if positions else []
            for position, key in zip(positions, records, strict=True):
                if position == last:
                    continue
                last = position
                if key is not None and sequel.of(key) in (None, position) and matches(key):
                    found.append(key)
                    if len(found) == limit:
                        more = position != positions[-1] or bool(await sequel.read(last))
                        return found, write_cursor(order, position) if more else None
            if not positions:
                return found, None
        return found, None if last is None else write_cursor(order, last)

    async def sort(self, order: Order, cursor: str | None, limit: int, keys: Sequence[Key]) -> tuple[list[Key], str | None]:
        """The same for a few keys that are known already."""
        sequel = self._sequels[order]
        last = await self._after(order, cursor)
        places = await self._last_uses(keys) if order == "last_used_at" else [sequel.of(key) for key in keys]
        placed = [(place, key) for place, key in zip(places, keys, strict=True) if place is not None]
        placed.sort(key=lambda pair: pair[0], reverse=sequel.falling)
        left = [(place, key) for place, key in placed if last is None or (place < last if sequel.falling else place > last)]
        page = left[:limit]
        return [key for _, key in page], write_cursor(order, page[-1][0]) if len(left) > limit else None

    async def _last_uses(self, keys: Sequence[Key]) -> list[Position | None]:
        scores = await self._store.pipeline([("ZSCORE", names.recent(names.shard_of(key.id)), key.id) for key in keys])
        return [Position(float(score), key.id) if score is not None else None for score, key in zip(scores, keys, strict=True)]

    async def _after(self, order: Order, cursor: str | None) -> Position | None:
        if not cursor:
            return None
        last = read_cursor(order, cursor)
        if order != "name":
            return last
        key = await self._reader.get(last.key_id)
        name, *mark, _ = last.tie.split(SEPARATOR) if SEPARATOR in last.tie else ("", "")
        if key is None:
            return Position(0.0, name) if name else None
        # A cursor of an older version says nothing of the name.
        if not mark or mark == [_mark(fold(key.name))]:
            return Position(0.0, name_entry(key))
        # It has another name by now: the page goes on behind the place that it had, which is only known up to where the name
        # was cut. So some may come again, but none is missed.
        return Position(0.0, name if _may_be_cut(name) else name + SEPARATOR + expiry_entry(key))


def write_cursor(order: Order, position: Position) -> str:
    """Where a page ended, as text for a URL."""
    name, inside, _ = position.tie.partition(SEPARATOR)
    tie = SEPARATOR.join((_cut(name), _mark(name), position.key_id)) if order == "name" and inside else position.tie
    return text_of((order, position.value, tie))


def read_cursor(order: Order, text: str) -> Position:
    """The position; raises ValueError when it was not made here, or for another order."""
    made_for, value, tie = place_in(text, tuple[str, float, str])
    if made_for != order:
        raise ValueError("this cursor belongs to another order; begin again without one")
    return Position(value, tie)


def _cut(name: str) -> str:
    """As much of a name as a cursor has room for."""
    return name.encode()[:LONGEST_NAME].decode(errors="ignore")


def _mark(name: str) -> str:
    """A checksum by which a name is recognised although it was cut."""
    return f"{zlib.crc32(name.encode()):x}"


def _may_be_cut(name: str) -> bool:
    # Less than a character is missing to the full length.
    return len(name.encode()) > LONGEST_NAME - 4


def _expiry(key: Key) -> Position | None:
    return None if key.expires_at is None else Position(key.expires_at, expiry_entry(key))
