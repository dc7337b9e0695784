"""Lists keys by filters, newest first, in bounded work for each page however many keys there are; `ordering` has the other orders.

Sorted sets lead to ids; what counts is the record, so a stale or missing entry shows no wrong key.
A filter that few keys pass is answered from its own set. One that many pass is answered by walking
from the newest key on; the walk reads lines that hold what can be searched, not records.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sidecar.keys.cursor import place_in, text_of
from sidecar.keys.index_entries import CREATED, DISABLED, EXPIRES, OWNER, REVOKED, SEPARATOR, TEXT, dots, entries, fold, is_found, plain
from sidecar.keys.ordering import Order, Ordered
from sidecar.keys.reader import KeyReader
from sidecar.keys.record import Key, Status, status
from sidecar.store.client import Store
from sidecar.store.link import Command

FIRST_STEP, LONGEST_STEP = 100, 1600
"""Lines that one step of a walk reads; it doubles from step to step."""
MOST_WALKED = 20_000
"""Lines that one page may read; a page may be short, even empty, and still have a next one."""
LEAST_READ = 20
"""Records that are read in one go, however few the page still lacks."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which keys: `q` is a case-insensitive prefix of name, owner, id or hint."""

    q: str = ""
    status: Status | None = None
    owner: str | None = None
    limit: int = 50
    cursor: str | None = None
    order: Order = "newest"


@dataclass(frozen=True, slots=True)
class Page:
    """Keys in the order that was asked for, and where the next page begins; None when there is no more."""

    keys: tuple[Key, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class _Position:
    """A place in the order: behind the key that was looked at last."""

    created_at: float
    key_id: str


class _Range(NamedTuple):
    """A part of a sorted set, by `LEX` or by `SCORE`."""

    kind: str
    name: str
    low: str | bytes
    high: str | bytes

    def size(self) -> Command:
        """The command that tells its size."""
        return ("ZLEXCOUNT" if self.kind == "LEX" else "ZCOUNT", self.name, self.low, self.high)

    def members(self) -> Command:
        """The command that gives its members."""
        return ("ZRANGE", self.name, self.low, self.high, f"BY{self.kind}")


class Index:
    """The sorted sets: kept up by the repository, read by `page`."""

    def __init__(self, store: Store, reader: KeyReader) -> None:
        self._store = store
        self._reader = reader
        self._ordered = Ordered(store, reader)

    async def add(self, key: Key, before: Key | None) -> None:
        """Add what leads to `key` and did not lead to `before`; repeating it does no harm."""
        added = entries(key) - (entries(before) if before else set())
        await self._store.pipeline([("ZADD", name, score, member) for name, member, score in sorted(added)])

    async def settle(self, key: Key, before: Key | None) -> bool:
        """Remove what led to `before` and does not lead to `key`; whether `before` had others than `key`.

        To be called when `key` is written. What `add` added is added once more: a slower writer of
        `before` may have removed it in between.
        """
        now, then = entries(key), entries(before) if before else set()
        left = {(name, member) for name, member, _ in now}
        gone = sorted({(name, member) for name, member, _ in then} - left)
        removals: list[Command] = [("ZREM", name, member) for name, member in gone]
        again: list[Command] = [("ZADD", name, score, member) for name, member, score in sorted(now - then) if before]
        await self._store.pipeline([*removals, *again])
        return bool(gone or again)

    async def count(self, *, revoked: bool) -> int:
        """How many keys there are, with the revoked ones or without."""
        every, ended = await self._store.pipeline([("ZCARD", CREATED), ("ZCARD", REVOKED)])
        return int(every) - (0 if revoked else int(ended))

    async def page(self, query: Query, now: float) -> Page:
        """The keys of `query` at `now`; raises ValueError for a cursor that was not made here."""
        if query.order != "newest":
            return await self._page_in_order(query, now)
        after = _read_cursor(query.cursor) if query.cursor else None
        filling = _Filling(query.limit, matcher(query, now), self._reader, after)
        sparse, walked = await self._plan(query, now)
        if sparse:
            return await self._from_ids(sparse, filling)
        return await self._walk(walked, after, sieve(query), filling)

    async def _page_in_order(self, query: Query, now: float) -> Page:
        sparse, _ = await self._plan(query, now)
        matches = matcher(query, now)
        if not sparse:
            keys, cursor = await self._ordered.walk(query.order, query.cursor, query.limit, matches)
            return Page(tuple(keys), cursor)
        ids = sorted({position.key_id for position in await self._ids(sparse)})
        found = [key for key in (await self._reader.get_many(ids) if ids else []) if key is not None and matches(key)]
        keys, cursor = await self._ordered.sort(query.order, query.cursor, query.limit, found)
        return Page(tuple(keys), cursor)

    async def _plan(self, query: Query, now: float) -> tuple[list[_Range], str]:
        """The ranges that hold the ids of a sparse filter, or none, and the set to walk then."""
        walked = {"disabled": DISABLED, "revoked": REVOKED}.get(query.status or "", CREATED)
        ways: list[list[_Range]] = []
        if fold(query.q):
            ways.append([_Range("LEX", TEXT, b"[" + prefix, b"[" + prefix + b"\xff") for prefix in _prefixes(query)])
        if query.owner is not None:
            owner = plain(query.owner).encode()
            ways.append([_Range("LEX", OWNER, b"[" + owner + b"\0", b"(" + owner + b"\x01")])
        if query.status == "expired":
            ways.append([_Range("SCORE", EXPIRES, "-inf", repr(now))])
        if not ways:
            return [], walked
        total, *counted = await self._store.pipeline([("ZCARD", walked), *(one.size() for way in ways for one in way)])
        sizes = iter(counted)
        size, way = min(((sum(next(sizes) for _ in way), way) for way in ways), key=lambda pair: pair[0])
        # Collecting costs `size`; walking costs about limit * total / size until a page is full.
        return (way if size * size <= max(query.limit * total, FIRST_STEP * FIRST_STEP) else []), walked

    async def _from_ids(self, ranges: list[_Range], filling: _Filling) -> Page:
        await filling.take(sorted(await self._ids(ranges), key=_order, reverse=True))
        return filling.page(more=False)

    async def _ids(self, ranges: list[_Range]) -> set[_Position]:
        found = await self._store.pipeline([one.members() for one in ranges])
        members = [member.split(b"\0") for one in found for member in one]
        return {_Position(float(created), key_id.decode()) for *_, created, key_id in members}

    async def _walk(self, name: str, after: _Position | None, passes: Callable[[bytes], bool], filling: _Filling) -> Page:
        # By time, not by rank: lines go while a page is being read, and others would take their ranks and be missed.
        # So lines of one time are read again; what does not lie behind the cursor is passed over.
        top, walked, step, more = math.inf if after is None else after.created_at, 0, FIRST_STEP, True
        while more and walked < MOST_WALKED and not filling.full():
            lines = await self._store.call("ZRANGE", name, repr(top), "-inf", "BYSCORE", "REV", "LIMIT", 0, step, "WITHSCORES")
            await filling.take([_Position(float(score), line.partition(b"\0")[0].decode()) for line, score in lines if passes(line)])
            more = len(lines) == step
            walked += step
            if more and not filling.full():
                last = _Position(float(lines[-1][1]), lines[-1][0].partition(b"\0")[0].decode())
                filling.passed(last)
                # When all are of one moment, more of that moment may stand behind them.
                top, step = last.created_at, 2 * step if last.created_at == top else min(step * 2, LONGEST_STEP)
        return filling.page(more=more)


class _Filling:
    """A page that is being filled from positions in their order."""

    def __init__(self, limit: int, matches: Callable[[Key], bool], reader: KeyReader, after: _Position | None) -> None:
        self._limit = limit
        self._matches = matches
        self._reader = reader
        self._last = after
        self._keys: list[Key] = []
        self._left_over = False

    def full(self) -> bool:
        """Whether the page has all that it may hold."""
        return len(self._keys) == self._limit

    async def take(self, positions: Sequence[_Position]) -> None:
        """Read the records at `positions`, as far as the page has room, and keep those that match."""
        left = [position for position in positions if self._last is None or _order(position) < _order(self._last)]
        while left and not self.full():
            size = max(self._limit - len(self._keys), LEAST_READ)
            part, left = left[:size], left[size:]
            records = await self._reader.get_many([position.key_id for position in part])
            for at, (position, key) in enumerate(zip(part, records, strict=True), start=1):
                # A line that a crashed writer left behind leads to the same key twice.
                if position == self._last:
                    continue
                self._last = position
                if key is not None and self._matches(key):
                    self._keys.append(key)
                    if self.full():
                        self._left_over = at < len(part)
                        break
        self._left_over = self._left_over or bool(left)

    def passed(self, position: _Position) -> None:
        """Everything up to `position` has been looked at."""
        if self._last is None or _order(position) < _order(self._last):
            self._last = position

    def page(self, *, more: bool) -> Page:
        """The page; `more`: there are positions that were not taken."""
        more = more or self._left_over
        return Page(tuple(self._keys), _write_cursor(self._last) if more and self._last is not None else None)


def sieve(query: Query) -> Callable[[bytes], bool]:
    """A quick test on lines: false only for keys that are not of `query`."""
    begun = [SEPARATOR.encode() + prefix for prefix in _prefixes(query)]
    owner = b"" if query.owner is None else f"{SEPARATOR}{plain(query.owner)}{SEPARATOR}".encode()
    return lambda line: owner in line and any(prefix in line for prefix in begun)


def matcher(query: Query, now: float) -> Callable[[Key], bool]:
    """Whether a key is one of `query` at `now`; the judgement that every path ends in."""
    prefix = fold(query.q)

    def matches(key: Key) -> bool:
        if query.status is not None and status(key, now) != query.status:
            return False
        if query.owner is not None and key.owner != query.owner:
            return False
        return not prefix or is_found(key, prefix)

    return matches


def _prefixes(query: Query) -> set[bytes]:
    """What entries in the index may begin with for `query.q`: as typed, and as a hint has it."""
    typed = fold(query.q)
    return {typed.encode(), dots(typed).encode()}


def _order(position: _Position) -> tuple[float, str]:
    return position.created_at, position.key_id


def _write_cursor(position: _Position) -> str:
    return text_of((position.created_at, position.key_id))


def _read_cursor(text: str) -> _Position:
    return _Position(*place_in(text, tuple[float, str]))
