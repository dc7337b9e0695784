"""Leads to the events that acted on one thing, so that a page about a key need not read the log of all keys.

The set is written in the script that appends an event. A mark in the log's head says up to which event it
is complete: events of an older version come in later, and until then are found by reading the log. It
is a way to find events, not evidence: exports and the check of the chain read the log itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from sidecar.control.audit.event import Event
from sidecar.control.audit.pace import Pace
from sidecar.store import names
from sidecar.store.client import Store
from sidecar.store.script import load
from sidecar.store.stored import UNREADABLE

_NOTE = load("audit_targets")


class _Aimed(msgspec.Struct, frozen=True):
    """All that matters of an event here."""

    sequence: int
    target: _Target | None = None


class _Target(msgspec.Struct, frozen=True):
    id: str


_decoder = msgspec.json.Decoder(_Aimed)


class Targets:
    """Everything raises StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def complete_until(self) -> int:
        """The sequence number up to which every event is in the set."""
        return int(await self._store.call("HGET", names.AUDIT_HEAD, "targets") or 0)

    async def sequences(self, target: str, before: int, count: int) -> list[int]:
        """Up to `count` events that acted on `target`, newest first, of those before event number `before`."""
        found = await self._store.call("ZRANGE", names.AUDIT_TARGETS, *_range(target, before), "BYLEX", "REV", "LIMIT", 0, count)
        return [_number(member) for member in found]

    async def of_several(self, targets: Sequence[str], before: int, count: int) -> list[int]:
        """The same of each of `targets`, together."""
        commands = [("ZRANGE", names.AUDIT_TARGETS, *_range(target, before), "BYLEX", "REV", "LIMIT", 0, count) for target in targets]
        return sorted({_number(member) for found in await self._store.pipeline(commands) for member in found})

    async def catch_up(self, most: int) -> bool:
        """Take in up to `most` events that were appended without; whether that was all."""
        pace, taken = Pace(), 0
        while taken < most:
            head, mark = await self._store.call("HMGET", names.AUDIT_HEAD, "sequence", "targets")
            if int(head or 0) <= int(mark or 0):
                return True
            events = await self._store.call("XRANGE", names.AUDIT, f"({int(mark or 0)}-0", "+", "COUNT", pace.count)
            if not events:
                return True
            pace.took(events)
            taken += len(events)
            last = bytes(events[-1][0]).partition(b"-")[0]
            entries = [found for found in (_entry(fields) for _, fields in events) if found]
            await self._store.run(_NOTE, [names.AUDIT_HEAD, names.AUDIT_TARGETS], [mark or b"0", last, *entries])
        return False


def entry(target: str, sequence: int) -> str:
    """What stands in the set for event number `sequence`."""
    # As wide as any number, so that the order of the alphabet is that of the log.
    return f"{target}\0{sequence:016d}"


def entry_of(event: Event, sequence: int) -> str:
    """The same for `event` when it gets this number; empty when it acted on nothing."""
    return entry(event.target.id, sequence) if event.target is not None else ""


def _range(target: str, before: int) -> tuple[str, str]:
    """Between what the entries of `target` lie, up to event number `before`."""
    return f"({entry(target, before)}", f"[{target}\0"


def _number(member: bytes) -> int:
    return int(member.rpartition(b"\0")[2])


def _entry(fields: list[bytes]) -> str:
    try:
        aimed = _decoder.decode(b"".join(fields[1:2]))
    except UNREADABLE:
        # The check of the chain tells of it.
        return ""
    return entry(aimed.target.id, aimed.sequence) if aimed.target is not None else ""
