"""Token in, key out: from memory while the lease holds, else from the store, else an honest "cannot tell".

`cached` is for every request and never suspends; `resolve` is for the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from sidecar.keys.cache import MISS, Answer, KeyCache
from sidecar.keys.digest import LONGEST_TOKEN, Digester
from sidecar.keys.issue import with_ended
from sidecar.keys.lease import Lease
from sidecar.keys.reader import Found, KeyReader
from sidecar.keys.record import Key
from sidecar.store.client import StoreNotAdopted, StoreUnavailable

ANSWER_WITHIN = 0.25
"""Seconds in which the store must answer a look-up."""
REMEMBERED_FOR = 86_400.0
"""Seconds for which a revocation is remembered."""
MOST_REMEMBERED = 100_000
"""Keys of which revocations are remembered, and again as many of which secrets ended; the oldest go first."""


class SeenRevocations:
    """What this process has seen revoked, keys and secrets, for a day: a failover that loses a revocation brings none back."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._revoked: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._ended: OrderedDict[str, dict[str, float]] = OrderedDict()
        """By key id: when secrets of it ended, by their ids."""

    def judge(self, key: Key) -> Key:
        """`key` as it counts: revoked, or with a secret ended, if it was ever seen to be."""
        now = self._clock()
        seen = self._revoked.get(key.id)
        if key.revoked_at is not None:
            self._revoked[key.id] = (key.revoked_at, now + REMEMBERED_FOR)
            self._revoked.move_to_end(key.id)
            _bound(self._revoked)
            return key
        if seen is None or seen[1] <= now:
            return self._without_ended(key, now)
        return replace(key, revoked_at=seen[0])

    def _without_ended(self, key: Key, now: float) -> Key:
        known = self._ended.pop(key.id, None) or {}
        here = {one.id: one.expires_at for one in key.secrets if one.state == "revoked" and one.expires_at is not None}
        if not known and not here:
            return key
        # What ended longer ago no failover loses.
        ended = {secret_id: at for secret_id, at in {**known, **here}.items() if now - at < REMEMBERED_FOR}
        if ended:
            self._ended[key.id] = ended
            _bound(self._ended)
        return with_ended(key, ended)


def _bound(remembered: OrderedDict[str, Any]) -> None:
    if len(remembered) > MOST_REMEMBERED:
        remembered.popitem(last=False)


class Lookup:
    """The cache under its lease, and the store behind it."""

    def __init__(
        self,
        reader: KeyReader,
        cache: KeyCache,
        lease: Lease,
        digester: Digester,
        *,
        seen_revocations: SeenRevocations | None = None,
        max_stale: float = 0.0,
        answer_within: float = ANSWER_WITHIN,
    ) -> None:
        """`max_stale`: how old (seconds) a remembered key may be while the store cannot be asked; 0 refuses instead."""
        self._reader = reader
        self._cache = cache
        self._lease = lease
        self._digester = digester
        self._seen_revocations = seen_revocations or SeenRevocations()
        self._max_stale = max_stale
        self._answer_within = answer_within
        self._asking: dict[tuple[str, int], asyncio.Task[Found | None]] = {}
        """By digest, and the cache's generation when it was asked: what changed since then, it does not tell."""

    def cached(self, token: bytes) -> Answer:
        """The key of `token`, None if it is known to be nobody's, or MISS: then `resolve` must find out."""
        if len(token) > LONGEST_TOKEN:
            return None
        if not self._lease.fresh():
            return MISS
        answer = self._cache.lookup(self._digester.primary(token))
        # What cannot be a key is nobody's, whatever the store says: whoever tries tokens is not worth a coroutine.
        return None if answer is MISS and not self._digester.is_possible(token) else answer

    async def resolve(self, token: bytes) -> Found | None:
        """The key of `token`, asked from the store; None when it is nobody's.

        Callers that ask for one token at a time share one question. Raises StoreUnavailable
        (StoreNotAdopted among them) when there is no answer within 250 ms.
        """
        digests = self._digester.candidates(token)
        if not digests:
            return None
        question = (digests[0], self._cache.generation)
        task = self._asking.get(question)
        if task is None:
            task = self._asking[question] = asyncio.create_task(self._ask(digests))
            task.add_done_callback(lambda done: self._asked(question, done))
        try:
            return await asyncio.shield(task)
        except StoreNotAdopted:
            raise
        except StoreUnavailable:
            stale = self._cache.peek(digests[0]) if self._lease.age() <= self._max_stale else None
            if stale is None:
                raise
            return stale

    async def current(self, key_id: str) -> Key | None:
        """The key as it is now, for a request that is under way; raises StoreUnavailable."""
        try:
            async with asyncio.timeout(self._answer_within):
                key = await self._reader.get(key_id, prove=not self._lease.fresh())
        except TimeoutError:
            raise StoreUnavailable("the key store did not answer in time") from None
        return self._seen_revocations.judge(key) if key is not None else None

    async def _ask(self, digests: list[str]) -> Found | None:
        generation = self._cache.generation
        try:
            async with asyncio.timeout(self._answer_within):
                # A stale lease may mean that this server was cut off and replaced: then it must show that it still takes writes.
                found = await self._reader.find_first(digests, prove=not self._lease.fresh())
        except TimeoutError:
            raise StoreUnavailable("the key store did not answer in time") from None
        if found is not None:
            key = self._seen_revocations.judge(found.key)
            # By the digest: the secret itself may have ended here.
            found = found if key is found.key else Found(key, key.secret(found.secret.digest) or found.secret)
        self._cache.put(digests[0], found, generation)
        return found

    def _asked(self, question: tuple[str, int], task: asyncio.Task[Found | None]) -> None:
        self._asking.pop(question, None)
        # Every waiter may have left; then nobody else looks at the exception.
        if not task.cancelled():
            task.exception()
