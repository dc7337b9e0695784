"""The requests under way, by key: how many, whether one more may begin, and which must be cut when a key dies.

Requests without a key (public routes, or let through by the mode) share places as if they were one key's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from sidecar.events.record import Ending
from sidecar.keys.record import Key, Secret
from sidecar.refusals import API_KEY_REVOKED, OVERLOADED, SHUTTING_DOWN, Refused
from sidecar.store.errors import StoreUnavailable
from sidecar.worker.answer import Answers
from sidecar.worker.client.exchange import Exchange
from sidecar.worker.fair_share import has_place
from sidecar.worker.identify import end_of, judge
from sidecar.worker.meter import Record

_log = logging.getLogger(__name__)

NO_KEY = ""
CHECK_AGAIN = 0.25
"""Seconds until a changed key that could not be read is read again."""
READ_AT_ONCE = 32
"""Keys; when any may have changed that is thousands of them, and asked for together they would all have their answers too late."""


class KeySource(Protocol):
    """Where a key is read anew."""

    def current(self, key_id: str) -> Awaitable[Key | None]:
        """The key as the store has it now. Raises StoreUnavailable."""


class OpenRequests:
    """Registry of one worker, which has `places` for requests."""

    def __init__(
        self,
        keys: KeySource,
        answers: Answers,
        wall_clock: Callable[[], float],
        enforced: Callable[[Key | None], bool],
        places: int,
    ) -> None:
        self._keys = keys
        self._answers = answers
        self._wall_clock = wall_clock
        self._enforced = enforced
        self._places = places
        self._by_key: dict[str, dict[Record, Exchange]] = {}
        self._ends: dict[str, float] = {}
        """When something of a key ends by itself while requests of it are open: a secret, or the key. Unix seconds, the earliest."""
        self._count = 0
        self.changes = 0
        """Changes of keys that were reported so far."""
        self._reading = asyncio.Semaphore(READ_AT_ONCE)
        self._checks: dict[str, asyncio.Task[None]] = {}
        """By the id of the key that is read anew."""

    def __len__(self) -> int:
        return self._count

    def require_place(self) -> None:
        """Raise Refused(overloaded) when there is no place for anybody."""
        if self._count >= self._places:
            raise Refused(OVERLOADED)

    def add(self, record: Record, exchange: Exchange, ends_at: float | None) -> None:
        """A request of `record.key_id` begins, whose key or secret is good until `ends_at`.

        Raises Refused(overloaded) when its key has its share of the places.
        """
        requests = self._by_key.get(record.key_id)
        if not has_place(len(requests) if requests is not None else 0, self._count, self._places):
            raise Refused(OVERLOADED)
        if requests is None:
            requests = self._by_key[record.key_id] = {}
        requests[record] = exchange
        self._count += 1
        if ends_at is not None:
            self._note_end(record.key_id, ends_at)

    def remove(self, record: Record) -> None:
        """A request ends."""
        requests = self._by_key.get(record.key_id)
        if requests is not None and requests.pop(record, None) is not None:
            self._count -= 1
            if not requests:
                del self._by_key[record.key_id]
                self._ends.pop(record.key_id, None)

    def in_flight(self) -> dict[str, int]:
        """Number of open requests by key id."""
        return {key_id: len(requests) for key_id, requests in self._by_key.items() if key_id != NO_KEY}

    def key_changed(self, key_id: str | None) -> None:
        """A key, or with None any key, was changed: look again at what is open."""
        self.changes += 1
        affected = [key_id] if key_id is not None else [key_id for key_id in self._by_key if key_id != NO_KEY]
        for affected_id in affected:
            if affected_id in self._by_key:
                self.look_again(affected_id)

    def tick(self) -> None:
        """Look again at what should have ended by now, for nobody reports that as a change. Call it about once a second."""
        now = self._wall_clock()
        for key_id in [key_id for key_id, end in self._ends.items() if end <= now]:
            # What the store says now tells the next end; until then it is looked at with every tick.
            self.look_again(key_id)

    def look_again(self, key_id: str) -> None:
        """Judge the requests of a key anew, those too that are added until the store has told of it."""
        # What an earlier check has asked for may be older than what this one is about.
        if (earlier := self._checks.get(key_id)) is not None:
            earlier.cancel()
        self._checks[key_id] = asyncio.get_running_loop().create_task(self._check(key_id))

    def cut_all(self) -> None:
        """End everything that is still open: the worker ends too."""
        for requests in list(self._by_key.values()):
            for record, exchange in list(requests.items()):
                self._cut(record, exchange, Refused(SHUTTING_DOWN), "shutdown")

    async def _check(self, key_id: str) -> None:
        try:
            while key_id in self._by_key:
                try:
                    async with self._reading:
                        key = await self._keys.current(key_id)
                except StoreUnavailable:
                    # Open streams go on, but the change must not be forgotten: a store that was too slow for
                    # once need not have been away for those who report changes, so nobody would report it again.
                    pass
                else:
                    self._judge(key_id, key)
                    return
                # Not in the handler, where compiled code would leave the exception with whatever runs meanwhile.
                await asyncio.sleep(CHECK_AGAIN)
        finally:
            if self._checks.get(key_id) is asyncio.current_task():
                del self._checks[key_id]

    def _note_end(self, key_id: str, ends_at: float) -> None:
        known = self._ends.get(key_id)
        if known is None or ends_at < known:
            self._ends[key_id] = ends_at

    def _judge(self, key_id: str, key: Key | None) -> None:
        self._ends.pop(key_id, None)
        if not self._enforced(key):
            return
        now = self._wall_clock()
        for record, exchange in list(self._by_key.get(key_id, {}).items()):
            secret = _secret(key, record.secret_id)
            if key is None or secret is None:
                self._cut(record, exchange, Refused(API_KEY_REVOKED), "revoked")
                continue
            try:
                judge(key, secret, now)
            except Refused as refused:
                self._cut(record, exchange, refused, "revoked")
                continue
            ends_at = end_of(key, secret)
            if ends_at is not None:
                self._note_end(key_id, ends_at)

    def _cut(self, record: Record, exchange: Exchange, refused: Refused, ending: Ending) -> None:
        """End a request at once: tell its client why, or break off what has begun so that it never looks complete."""
        if exchange.gone:
            # Nobody is left to be told; what the hub still says is read within its bounds, as of any client that left.
            return
        if ending == "revoked":
            _log.info("cut request %s of key %s: %s", record.request_id, record.key_id, refused.refusal.code)
        if exchange.answered or record.finished:
            record.broken_off(refused.refusal, ending)
            exchange.cut()
            return
        record.refused(refused.refusal)
        record.ending = ending
        exchange.answered = True
        head_only = exchange.head.method == b"HEAD"
        exchange.connection.finish(self._answers.refusal(refused, record.request_id, keep_alive=False, head_only=head_only), False)
        # What the hub was asked for meanwhile is used all the same, and metered as when a client leaves.
        exchange.leave()


def _secret(key: Key | None, secret_id: str) -> Secret | None:
    if key is None:
        return None
    return next((secret for secret in key.secrets if secret.id == secret_id), None)
