"""Remembers calls that the hub left untold, asks its ledger about them, and appends what that adds to a spool of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from msgspec.structs import replace

from sidecar.control.reconcile.hub_ledger import LedgerUnavailable, Listing
from sidecar.control.reconcile.journal import Journal
from sidecar.control.reconcile.match import SLACK, by_request, drift, is_untold, missing
from sidecar.control.totals.rows import Row
from sidecar.control.totals.sums import Sums
from sidecar.control.usage.calls import Wanted
from sidecar.events.record import NO_TOKENS, Reconciled, Request, sum_of
from sidecar.events.wire import decode_all, encode
from sidecar.store.client import StoreUnavailable

SETTLE = 5.0
"""Seconds after its end until a call is looked for: the hub writes its ledger after its answer."""
MOST = 20_000
"""Calls that may wait."""
DRIFTS = 10_000
"""Keys whose drift is remembered."""

_log = logging.getLogger(__name__)


class Asked(Protocol):
    """The hub's ledger."""

    async def calls(self, key_id: str, since: float) -> Listing:
        """What the hub lists for a key from a moment on. Raises LedgerUnavailable."""


class CallLog(Protocol):
    """The sidecar's own."""

    def find(self, wanted: Wanted) -> AsyncIterator[Request]:
        """Every call that passes. Raises StoreUnavailable."""


class Spool(Protocol):
    """Where additions go."""

    spool_id: str
    position: int

    def append(self, record: bytes) -> bool:
        """Keep one record; False when there is no room."""


class Reconciler:
    """An observer of the fold, and a task; `routes` are those that the hub bills, `clock` gives Unix seconds."""

    def __init__(
        self,
        journal: Journal,
        spool: Spool,
        ledger: Asked,
        log: CallLog,
        *,
        routes: frozenset[str],
        every: float,
        give_up: float,
        clock: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._spool = spool
        self._ledger = ledger
        self._call_log = log
        self._routes = routes
        self._every = every
        self._give_up = give_up
        self._clock = clock
        self._unreadable: set[str] = set()
        self._unfolded: dict[str, dict[str, Request]] = {}
        """Key → request id → a call with its addition, until the call log shows it: the fold is a while behind the spool."""
        self.given_up = 0
        """Calls that the ledger did not show in time, or that could not be remembered."""
        self.drift: dict[str, int] = {}
        """Key → tokens that the ledger had beyond ours when it was last asked about the key."""
        self.complaint = "the hub's ledger has not been asked yet"
        """Why the ledger cannot be read; empty when it can."""

    @property
    def waiting(self) -> int:
        """How many calls wait for the ledger."""
        return len(self._journal.waiting)

    def observe(self, spool_id: str, records: list[bytes], sums: Sums) -> None:
        """Remember the untold calls of a stretch."""
        del spool_id
        if not any(self._may_hold_untold(row) for row in sums.rows):
            return
        oldest, journal = self._clock() - self._give_up, self._journal
        calls = [
            replace(event, client="", agent="")
            for event in decode_all(records)
            if type(event) is Request
            and self._may_be_untold(event)
            and is_untold(event)
            and event.time >= oldest
            and event.request_id not in journal.done
            and event.request_id not in journal.waiting
        ]
        room = max(0, MOST - self.waiting)
        kept = calls[:room]
        self.given_up += len(calls) - len(kept)
        try:
            journal.wait(kept)
        except OSError as error:
            self.given_up += len(kept)
            _log.warning("%d calls are not looked for in the hub's ledger: the journal cannot be written (%s)", len(kept), error.strerror)

    def retire(self, spool_id: str) -> None:
        """Nothing is kept for a spool."""

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await asyncio.sleep(self._every)
            await self.turn()

    async def turn(self) -> None:
        """Ask about every key with calls that are due."""
        now = self._clock()
        try:
            self._expire(now - self._give_up)
            due: dict[str, list[Request]] = {}
            for call in self._journal.waiting.values():
                if call.time <= now - SETTLE:
                    due.setdefault(call.key_id, []).append(call)
            self._unreadable &= due.keys()
            # Those whose list could not be read come last: the first that cannot ends the turn, for the hub may be down.
            for key_id in sorted(due, key=self._unreadable.__contains__):
                self._unreadable.add(key_id)
                await self._reconcile(key_id, due[key_id])
                self._unreadable.discard(key_id)
        except LedgerUnavailable as error:
            self._complain(str(error))
        except OSError as error:
            self._complain(f"the journal cannot be written ({error.strerror})")
        else:
            if due:
                self._complain("")

    async def _reconcile(self, key_id: str, calls: list[Request]) -> None:
        since = min(call.time - call.total for call in calls) - SLACK
        until = self._clock() - SETTLE
        listing = await self._ledger.calls(key_id, since)
        found = by_request(listing.entries)
        for call in calls:
            tokens = missing(call, found.get(call.request_id, ()))
            if tokens is None:
                continue
            if tokens == NO_TOKENS:
                self._journal.finish([call], noted=False)
            elif not self._append(call, Reconciled(self._clock(), call, tokens)):
                break
            else:
                added = replace(call, tokens=sum_of((call.tokens, tokens)))
                self._unfolded.setdefault(key_id, {})[call.request_id] = added
        if listing.complete:
            await self._measure(key_id, listing, since, until)

    def _expire(self, before: float) -> None:
        self.given_up += self._journal.expire(before)
        kept = ((key_id, {each: call for each, call in calls.items() if call.time >= before}) for key_id, calls in self._unfolded.items())
        self._unfolded = {key_id: calls for key_id, calls in kept if calls}

    def _append(self, call: Request, event: Reconciled) -> bool:
        """Append exactly once; False when the spool has no room, then the call goes on waiting."""
        record = encode(event)
        self._journal.add(call, self._spool.spool_id, self._spool.position, record)
        if not self._spool.append(record):
            return False
        self._journal.finish([call], noted=True)
        return True

    async def _measure(self, key_id: str, listing: Listing, since: float, until: float) -> None:
        try:
            logged = [call async for call in self._call_log.find(Wanted(key_id, start=since))]
        except StoreUnavailable:
            return
        # What the hub does not bill to the key, its list of the key's calls never has.
        counted = {call.request_id: call for call in logged if call.route in self._routes}
        unfolded = self._unfolded.pop(key_id, {})
        unfolded = {each: call for each, call in unfolded.items() if each not in counted or counted[each].usage_source != "ledger"}
        if unfolded:
            self._unfolded[key_id] = unfolded
        self.drift.pop(key_id, None)
        self.drift[key_id] = drift(listing.entries, counted | unfolded, since, until)
        if len(self.drift) > DRIFTS:
            del self.drift[next(iter(self.drift))]

    def _may_be_untold(self, call: Request) -> bool:
        return bool(call.key_id) and call.route in self._routes and not (call.usage_source == "hub" and call.tokens.credits)

    def _may_hold_untold(self, row: Row) -> bool:
        traits = row.traits
        return bool(traits.key_id) and traits.route in self._routes and not (traits.usage_source == "hub" and row.priced == row.requests)

    def _complain(self, complaint: str) -> None:
        if complaint and not self.complaint:
            _log.warning("calls are not reconciled: %s", complaint)
        self.complaint = complaint
