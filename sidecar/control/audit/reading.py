"""Reads the audit log: pages, export, and the check that nobody has changed it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from sidecar.control.audit.event import GENESIS, Event, Filter, digest
from sidecar.control.audit.pace import MOST, Entry, Pace
from sidecar.control.audit.targets import Targets
from sidecar.control.audit.unreadable import stand_in
from sidecar.store import names
from sidecar.store.client import Store
from sidecar.store.stored import UNREADABLE

SCAN_BOUND = 20_000
"""Events looked at for one page of a filtered listing; beyond that the page ends early with a cursor."""

# The store refuses a number beyond 64 bits, and int() one of thousands of digits.
_CURSOR = re.compile(r"[0-9]{1,18}")


class Sealed(msgspec.Struct, frozen=True):
    """An event of the log with its hash; one that cannot be read is what `stand_in` makes of it."""

    event: Event
    hash: str


@dataclass(frozen=True, slots=True)
class Page:
    """Newest first; `next_cursor` is empty at the end."""

    events: tuple[Sealed, ...]
    next_cursor: str


class Verdict(msgspec.Struct, frozen=True):
    """What recomputing the chain found. Note `head_sequence` and `head_hash` elsewhere to notice a log that was rewritten as a whole."""

    ok: bool
    events: int
    head_sequence: int
    head_hash: str
    broken_at: int | None = None
    """Sequence number of the first event that is not as it was written."""
    reason: str = ""
    """Why it is broken; of a chain that is whole, what could not be told."""


class AuditReader:
    """All that can be asked of the log. Everything raises StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.targets = Targets(store)

    async def head(self) -> tuple[int, str]:
        """Sequence number and hash of the newest event; (0, "") when there is none."""
        sequence, hash_ = await self._store.call("HMGET", names.AUDIT_HEAD, "sequence", "hash")
        return int(sequence or 0), (hash_ or b"").decode()

    async def query(self, wanted: Filter, limit: int, cursor: str = "") -> Page:
        """A page of the log, newest first; `cursor` is a sequence number, or empty. ValueError when it is anything else."""
        before = _before(cursor)
        if before is not None and before <= 1:
            return Page((), "")
        indexed = await self.targets.complete_until() if wanted.target else 0
        found: list[Sealed] = []
        pace, looked = Pace(), 0
        while looked < SCAN_BOUND:
            if before is not None and before <= indexed + 1:
                return await self._indexed(wanted, found, limit, before)
            count = pace.count
            entries = await self._newest(before, pace, indexed)
            looked += len(entries)
            for entry in entries:
                sealed, before = decode(entry), number_of(entry)
                if wanted.accepts(sealed.event):
                    found.append(sealed)
                if len(found) == limit:
                    return Page(tuple(found), str(before) if before > 1 else "")
            if len(entries) < count:
                return await self._indexed(wanted, found, limit, indexed + 1) if indexed else Page(tuple(found), "")
        return Page(tuple(found), str(before))

    async def _indexed(self, wanted: Filter, found: list[Sealed], limit: int, before: int) -> Page:
        """Go on with a page among the events that acted on the wanted target."""
        for _ in range(0, SCAN_BOUND, MOST):
            numbers = await self.targets.sequences(wanted.target, before, min(MOST, limit - len(found) + 1))
            for number, entries in zip(numbers, await self._at(numbers), strict=True):
                if len(found) == limit:
                    return Page(tuple(found), str(before))
                before = number
                # What the store has lost since, or got back as it was before, is not what it was noted for.
                found += [sealed for sealed in map(decode, entries) if wanted.accepts(sealed.event)]
            if not numbers:
                return Page(tuple(found), "")
        return Page(tuple(found), str(before))

    async def export(self, wanted: Filter) -> AsyncIterator[Sealed]:
        """Every wanted event, oldest first."""
        async for entry in self._entries():
            sealed = decode(entry)
            if wanted.accepts(sealed.event):
                yield sealed

    async def check(self, remembered: tuple[int, str]) -> Verdict:
        """Recompute the whole chain; it must hold its own head and `remembered`, an earlier one."""
        wanted = dict([await self.head(), remembered])
        sequence, hash_ = 0, GENESIS
        async for entry in self._entries():
            reason, link, recorded = _check(entry, sequence, hash_)
            if link is None:
                return Verdict(False, sequence, sequence, hash_, sequence + 1, reason)
            sequence, hash_ = link.sequence, recorded
            if wanted.pop(sequence, hash_) != hash_:
                return Verdict(False, sequence, sequence, hash_, sequence, "the log was rewritten, here or earlier")
        wanted.pop(0, None)
        if wanted:
            return Verdict(False, sequence, sequence, hash_, sequence + 1, "events at the end are missing")
        return Verdict(True, sequence, sequence, hash_)

    async def _latest(self, bound: int) -> AsyncIterator[Entry]:
        """The newest events, newest first."""
        before: int | None = None
        pace, looked = Pace(), 0
        while looked < bound:
            count = pace.count
            entries = await self._newest(before, pace)
            looked += len(entries)
            for entry in entries:
                before = number_of(entry)
                yield entry
            if len(entries) < count:
                return

    async def _written(self, events: Mapping[str, Event]) -> AsyncIterator[tuple[int, Sealed]]:
        """What the log has under the ids of `events`, with its numbers: of the newest, and of those before that acted on the same."""
        left, oldest = dict(events), 0
        async for entry in self._latest(SCAN_BOUND):
            oldest, sealed = number_of(entry), decode(entry)
            if sealed.event.id in events:
                left.pop(sealed.event.id, None)
                yield oldest, sealed
        numbers = await self.targets.of_several([one.target.id for one in left.values() if one.target is not None], oldest, MOST)
        for number, entries in zip(numbers, await self._at(numbers), strict=True):
            for sealed in map(decode, entries):
                if sealed.event.id in left:
                    yield number, sealed

    async def _newest(self, before: int | None, pace: Pace, behind: int = 0) -> list[Entry]:
        newest = "+" if before is None else f"({before}-0"
        entries: list[Entry] = await self._store.call("XREVRANGE", names.AUDIT, newest, f"({behind}-0", "COUNT", pace.count)
        pace.took(entries)
        return entries

    async def _at(self, numbers: Sequence[int]) -> list[list[Entry]]:
        """Under each of these sequence numbers the one entry that the log has there, or nothing."""
        pace = Pace()
        found: list[list[Entry]] = []
        while part := numbers[len(found) : len(found) + pace.count]:
            there: list[list[Entry]] = await self._store.pipeline([("XRANGE", names.AUDIT, f"{one}-0", f"{one}-0") for one in part])
            pace.took([entry for entries in there for entry in entries])
            found += there
        return found

    async def _entries(self) -> AsyncIterator[Entry]:
        after, pace = "-", Pace()
        while entries := await self._store.call("XRANGE", names.AUDIT, after, "+", "COUNT", pace.count):
            pace.took(entries)
            for entry in entries:
                yield entry
            after = "(" + bytes(entries[-1][0]).decode()


def decode(entry: Entry) -> Sealed:
    """The event of an entry, whatever the entry holds."""
    data, hash_ = parts(entry)
    try:
        event = msgspec.json.decode(data, type=Event)
    except UNREADABLE:
        event = stand_in(data, number_of(entry))
    return Sealed(event, hash_)


def number_of(entry: Entry) -> int:
    """Its place in the log, which the store keeps: what an event says of itself may be made up, and a page would go on from there."""
    return int(bytes(entry[0]).partition(b"-")[0])


def parts(entry: Entry) -> tuple[bytes, str]:
    """The stored event and its hash. They are the values of the fields `event` and `hash`, in this order; empty when there are none."""
    values = [bytes(value) for value in entry[1][1::2]]
    data, hash_ = (*values, b"", b"")[:2]
    return data, hash_.decode("utf-8", "replace")


class _Link(msgspec.Struct, frozen=True):
    """All that the chain needs of an event: so an event of a newer version, which is no tampering, does not break it."""

    sequence: int
    prev_hash: str


def _check(entry: Entry, sequence: int, prev_hash: str) -> tuple[str, _Link | None, str]:
    data, recorded = parts(entry)
    try:
        link = msgspec.json.decode(data, type=_Link)
    except UNREADABLE:
        return "the event cannot be read", None, recorded
    if link.sequence != sequence + 1 or link.prev_hash != prev_hash:
        return "an event was removed or put in here", None, recorded
    if digest(data) != recorded:
        return "the event was changed", None, recorded
    return "", link, recorded


def _before(cursor: str) -> int | None:
    if cursor and not _CURSOR.fullmatch(cursor):
        raise ValueError("not a cursor of this log")
    return int(cursor) if cursor else None
