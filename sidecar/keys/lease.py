"""The right to trust the cache: the proof, renewed twice a second, that every change so far has been seen.

Changes are reported on a connection of their own. The answer to a question asked on it at time t
proves that all changes made before t have been reported. While the last proof is at most
`TRUSTED_FOR` old, remembered keys may be served; afterwards the store is asked for each, so a
revoked key is dead within that time and one look-up, whatever happens to the connection.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence

from sidecar.keys.adoption import Adoption
from sidecar.keys.cache import KeyCache
from sidecar.store import names
from sidecar.store.client import Store, StoreNotAdopted, StoreUnavailable, Tracking

_log = logging.getLogger(__name__)

HEARTBEAT = 0.5
"""Seconds from one proof to the next."""
ANSWER_WITHIN = 1.0
"""Seconds that a proof may take; beyond that the connection is given up."""
TRUSTED_FOR = 1.5
"""Seconds after which the last proof is too old to serve from memory."""
RETRY_AFTER = 0.1
"""Seconds until a connection that was lost is made anew."""

Changed = Callable[[str | None], None]


def elapsed() -> float:
    """Seconds, those that the machine slept among them: `time.monotonic` leaves these out, and changes are missed in them as in others."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """Run `run` as a task for as long as the cache is in use."""

    def __init__(
        self, store: Store, adoption: Adoption, cache: KeyCache, on_change: Changed, *, clock: Callable[[], float] = elapsed
    ) -> None:
        """`on_change` gets the id of each changed key, or None when any key may have changed unseen."""
        self._store = store
        self._adoption = adoption
        self._cache = cache
        self._on_change = on_change
        self._clock = clock
        self._proven_at = -math.inf

    def age(self) -> float:
        """Seconds since the last proof; infinite before the first one."""
        return self._clock() - self._proven_at

    def fresh(self) -> bool:
        """Whether what is remembered may be served now."""
        # No caller brings a time along: one of another clock would say yes for ever.
        return self._clock() - self._proven_at <= TRUSTED_FOR

    async def run(self) -> None:
        """Hold the lease until cancelled."""
        complaint = ""
        while True:
            try:
                # Remembered keys are the last resort while the store cannot be asked: they are forgotten only when it can.
                # What a primary says that was cut off counts for nothing, here as in a look-up.
                await self._store.pipeline_of_primary([self._adoption.question])
                tracking = await self._store.track(names.TRACKED_PREFIXES, self._changed, self._adoption.question)
            except StoreUnavailable as error:
                # One that does not answer is told of elsewhere. One that answers everything but this would cost a trip a request
                # for ever, and nobody would know why.
                answers = self._store.failure is None
                level = logging.WARNING if answers and str(error) != complaint else logging.DEBUG
                _log.log(level, "no reports of key changes, so every request asks the store: %s", error)
                complaint = str(error) if answers else complaint
                await asyncio.sleep(RETRY_AFTER)
                continue
            complaint = ""
            try:
                # What changed while nobody reported is unknown.
                self._changed(None)
                await self._renew(tracking)
            except StoreUnavailable as error:
                _log.warning("reports of key changes have stopped: %s", error)
            finally:
                await tracking.close()
            await asyncio.sleep(RETRY_AFTER)

    async def _renew(self, tracking: Tracking) -> None:
        while True:
            asked_at = self._clock()
            answer = await tracking.prove(ANSWER_WITHIN)
            try:
                self._adoption.check(answer)
                self._proven_at = asked_at
            except StoreNotAdopted:
                # Remembered keys belong to another store now; the adoption has logged it.
                self._proven_at = -math.inf
                self._cache.flush()
            await asyncio.sleep(max(0.0, asked_at + HEARTBEAT - self._clock()))

    def _changed(self, changed: Sequence[bytes] | None) -> None:
        if changed is None:
            self._cache.flush()
            self._on_change(None)
            return
        for name in changed:
            text = name.decode("utf-8", "replace")
            if text.startswith(names.KEY_PREFIX):
                key_id = text.removeprefix(names.KEY_PREFIX)
                self._cache.forget_key(key_id)
                self._on_change(key_id)
            else:
                self._cache.forget_digest(text.removeprefix(names.DIGEST_PREFIX))
