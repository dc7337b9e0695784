"""The audit log in the store: an append-only stream whose events are chained by their hashes.

No act without a record: before an act the journal keeps what is about to be done and the store must
answer; afterwards the record is appended. If the store goes away in between the act stands and the
journal completes the log later, with outcome `unknown` when nobody can say how it ended.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import islice

from msgspec.structs import replace

from sidecar.control.audit.act import Act, Unchanged
from sidecar.control.audit.event import GENESIS, Event, digest, interrupted, is_record_of, seal
from sidecar.control.audit.journal import Journal, Unrecordable
from sidecar.control.audit.reading import AuditReader, Verdict, decode, parts
from sidecar.control.audit.targets import entry_of
from sidecar.store import names
from sidecar.store.client import ScriptCall, Store
from sidecar.store.errors import StoreUnavailable
from sidecar.store.script import load

_APPEND = load("audit_append")
_TRUST_AFTER = 3600.0
"""A store without disk and replica never says that it has something for good; there an hour has to do, for its head too."""

NO_HEAD = "no head of the log is known here yet, so if it had been cut or rewritten that would not show"

LOOKED_AT = 500
"""Events of the journal, new ones and others, at a time: where a store never says that it has something for good there may be an hour's
of an import of thousands, and to read them all, here and in the store, would leave no time for anything else."""

CAUGHT_UP_AT_ONCE = 2000
"""Events of an older version that are taken into the index at a time."""

Place = tuple[int, str]
"""Sequence number and hash."""

_log = logging.getLogger(__name__)


async def _unguarded() -> None:
    """For a store that is known to be the right one."""


class AuditLog(AuditReader):
    """Reads and writes the log; `clock` gives Unix seconds, `guard` raises StoreUnavailable while the store must not be written."""

    def __init__(
        self, store: Store, journal: Journal, clock: Callable[[], float] = time.time, guard: Callable[[], Awaitable[None]] = _unguarded
    ) -> None:
        super().__init__(store)
        self._journal = journal
        self._clock = clock
        self._guard = guard
        self._head: Place = (0, "")
        self._turn = asyncio.Lock()
        self._under_way: set[str] = set()
        self._round: list[str] = []
        """Ids of the journal's events whose turn to be looked at again comes before that of all others."""
        self._places: dict[str, Place] = {}
        """Where the events of the journal are in the log, as far as this process knows."""
        self._as_kept: set[str] = set()
        """Those that this process found, or put there, just as the journal has them."""
        self._altered: dict[str, int] = {}
        """Sequence numbers of what the log has under the ids of events of the journal and that is not what was written."""
        self._complained = False
        self._told_cut = False
        self.waiting = 0
        """Events of the journal that are not safely in the log yet, when last looked at."""
        self.recorded: dict[tuple[str, str], int] = {}
        """Events by action and outcome since this process started, for /metrics."""

    @asynccontextmanager
    async def act(self, event: Event) -> AsyncIterator[Act]:
        """Surround an act with its record, unless the act raises Unchanged.

        Raises StoreUnavailable or Unrecordable before the act when no record could be written.
        """
        self._head = await self.head()
        try:
            self._journal.write(interrupted(event))
        except OSError as error:
            raise Unrecordable(error.errno, error.strerror) from error
        self._under_way.add(event.id)
        act = Act(event)
        try:
            yield act
        except Unchanged:
            self._journal.drop(event.id)
            raise
        else:
            # What was done stands, and its maker waits for what came of it: a new secret is shown now or never.
            self._keep(act.event)
            await self._append_or_leave(act.event)
        finally:
            # What neither was refused nor came through stays in the journal, and is recorded with outcome `unknown`.
            self._under_way.discard(event.id)

    async def append(self, event: Event) -> None:
        """Record something that has happened: a failed authentication, an automatic act. What cannot be recorded is logged."""
        # Or else `settle`, which finds it in the journal and not yet in the log, appends it a second time.
        self._under_way.add(event.id)
        try:
            is_kept = self._keep(event)
            await self._append_or_leave(event)
            if not is_kept:
                # `settle` forgets only the places of what it finds in the journal.
                self._places.pop(event.id, None)
        finally:
            self._under_way.discard(event.id)

    async def verify(self) -> Verdict:
        """Recompute the whole chain; it must hold the newest event that this instance saw safely stored, and all it has kept unaltered."""
        remembered = self._journal.remembered()
        verdict = await self.check(remembered)
        if verdict.ok and verdict.events and not self._altered and not remembered[0]:
            return replace(verdict, reason=NO_HEAD)
        if verdict.ok and self._altered:
            broken_at = min(self._altered.values())
            return replace(verdict, ok=False, broken_at=broken_at, reason="the event is not the one that was written and kept in data_dir")
        return verdict

    async def run(self, interval: float = 1.0) -> None:
        """Bring the journal's events into the log, and what the log acted on into its index, for ever; each `interval` seconds.

        Nothing that goes wrong in a round ends it: the journal would fill unnoticed, until the next start.
        """
        with suppress(OSError):
            self._journal.tidy()
        told = ""
        while True:
            try:
                await self.settle()
                with suppress(StoreUnavailable):
                    await self.targets.catch_up(CAUGHT_UP_AT_ONCE)
                told = ""
            except Exception as error:
                # The same fault in each round is told once.
                if told != repr(error):
                    _log.exception("the audit journal could not be brought into the log; trying again")
                told = repr(error)
            await asyncio.sleep(interval)

    async def settle(self) -> None:
        """Bring the journal's events safely into the log, as far as the store allows. Raises OSError when the journal cannot be read."""
        ids = self._journal.ids() - self._under_way
        self.waiting = len(ids)
        waiting = self._journal.pending(self._chosen(ids))
        try:
            if waiting:
                await self._guard()
            placed = await self._place(waiting, ids)
            if not placed:
                return
            durable = await self._store.durable()
            safe = await self._still_there(placed)
            # To remember what was chained behind something altered would make that part of what is expected.
            known = await self._known_head() if safe and not self._altered else None
        except StoreUnavailable:
            return
        sure = [event for event in safe if durable or self._clock() - event.time.timestamp() > _TRUST_AFTER]
        if sure and known is not None and not self._remember(max(known, *(self._places[event.id] for event in sure))):
            return
        for event in sure:
            self._journal.drop(event.id)
            self._places.pop(event.id, None)
            self._as_kept.discard(event.id)
            self.waiting -= 1

    def _chosen(self, ids: set[str]) -> set[str]:
        """Which of the journal's events are looked at now: what is new here, what was altered, and some of all by turns."""
        fresh = islice((event_id for event_id in ids if event_id not in self._places), LOOKED_AT)
        left = [event_id for event_id in self._round if event_id in ids] or list(ids)
        self._round = left[LOOKED_AT:]
        return {*fresh, *left[:LOOKED_AT], *(self._altered.keys() & ids)}

    async def _place(self, events: list[Event], ids: set[str]) -> list[Event]:
        """Append those that are not in the log; returns those that are there now as they were written. `ids`: all of the journal."""
        await self._look_again({event.id: event for event in events}, ids)
        unknown = {event.id: event for event in events if event.id not in self._places and event.id not in self._altered}
        others: dict[str, int] = {}
        if unknown:
            async for number, sealed in self._written(unknown):
                kept = unknown[sealed.event.id]
                if self._is_record(sealed.event, kept):
                    self._places[kept.id] = (number, sealed.hash)
                else:
                    others[kept.id] = number
        for event_id in others.keys() - self._places.keys():
            self._altered[event_id] = others[event_id]
            message = "event %d of the audit log is not what was written, which data_dir keeps as %s; `sidecar audit verify` says so"
            _log.error(message, others[event_id], event_id)
        present = [event for event in events if event.id not in self._altered]
        for event in present:
            if event.id not in self._places:
                await self._append(event)
                self._as_kept.add(event.id)
        return present

    async def _look_again(self, events: dict[str, Event], ids: set[str]) -> None:
        """Forget what was altered when its place has something else now, or when somebody took the journal's copy away."""
        self._altered = {event_id: number for event_id, number in self._altered.items() if event_id in events}
        self._as_kept &= ids
        found_there = await self._at(list(self._altered.values()))
        for event_id, entries in zip(list(self._altered), found_there, strict=True):
            found = decode(entries[0]).event if entries else None
            if found is None or found.id != event_id or self._is_record(found, events[event_id]):
                del self._altered[event_id]

    def _is_record(self, logged: Event, kept: Event) -> bool:
        if not is_record_of(logged, kept, completed=kept.id not in self._as_kept):
            return False
        if logged.outcome == kept.outcome:
            # From here on the log may not come up with another end of the act.
            self._as_kept.add(kept.id)
        return True

    async def _still_there(self, events: list[Event]) -> list[Event]:
        """Those that the store still has: a crash may have cost it what it had not written to disk."""
        safe = []
        found_there = await self._at([self._places[event.id][0] for event in events])
        for event, entries in zip(events, found_there, strict=True):
            data, hash_ = parts(entries[0]) if entries else (b"", "")
            # Its own word for what it is would do for a crash, but not for a hand.
            if hash_ == self._places[event.id][1] and digest(data) == hash_:
                safe.append(event)
            else:
                del self._places[event.id]
        return safe

    async def _known_head(self) -> Place | None:
        """The head last remembered, or None when the log has lost it: to remember a later one would hide that from `verify`."""
        known = self._journal.remembered()
        entries = (await self._at([known[0]]))[0] if known[0] else []
        if not known[0] or (entries and parts(entries[0])[1] == known[1]):
            self._told_cut = False
            return known
        if not self._told_cut:
            _log.error("the audit log no longer holds event %d as it was stored; `sidecar audit verify` says so from now on", known[0])
        self._told_cut = True
        return None

    def _remember(self, head: Place) -> bool:
        """Whether the disk takes it. If not, the events stay in the journal, so nothing is lost by trying again."""
        try:
            self._journal.remember(*head)
        except OSError as error:
            if not self._complained:
                _log.error("data_dir cannot be written (%s); the audit journal is kept until it can be", error.strerror)
            self._complained = True
            return False
        self._complained = False
        return True

    def _keep(self, event: Event) -> bool:
        """Put `event` into the journal. A disk that is full, or broken, takes from it only its second chance."""
        try:
            self._journal.write(event)
        except OSError as error:
            _log.error("data_dir cannot be written (%s); audit record %s is lost unless the store takes it now", error.strerror, event.id)
            return False
        return True

    async def _append_or_leave(self, event: Event) -> None:
        kind = (event.action, event.outcome)
        self.recorded[kind] = self.recorded.get(kind, 0) + 1
        try:
            # Anybody may fail to sign in, also before a store that is not the known one.
            await self._guard()
            await self._append(event)
        except StoreUnavailable as error:
            _log.warning("audit record %s waits in the journal: %s", event.id, error)

    async def _append(self, event: Event) -> None:
        async with self._turn:
            # Looked at again: whoever had the turn before may have appended this very event.
            while event.id not in self._places:
                sequence, hash_ = self._head
                data, sealed = seal(event, sequence + 1, hash_ or GENESIS)
                reply = await self._store.run(*appending((sequence, hash_), event, data, sealed))
                if not reply:
                    self._head = self._places[event.id] = (sequence + 1, sealed)
                else:
                    self._head = (int(reply[0]), bytes(reply[1]).decode())


def appending(head: Place, event: Event, data: bytes, hash_: str) -> ScriptCall:
    """The call that appends `event`, sealed as `data` and `hash_`, behind `head`."""
    number = head[0] + 1
    keys = [names.AUDIT, names.AUDIT_HEAD, names.AUDIT_TARGETS]
    return _APPEND, keys, [str(head[0]), head[1], data, hash_, str(number), entry_of(event, number)]
