"""Moves a secret to the current pepper when it is used: an imported one, or one of the pepper before.

The token is only known while a request with it is under way, so this happens in the worker; it is
the one change that a worker may make to a key.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from sidecar.keys import issue
from sidecar.keys.digest import Digester, imported_digest
from sidecar.keys.reader import Found
from sidecar.keys.record import Key
from sidecar.keys.repository import KeyIsNewer, KeyIsRevoked, KeyRepository, UnknownKey
from sidecar.store.client import StoreUnavailable

_log = logging.getLogger(__name__)

RETRY_AFTER = 10.0
"""Seconds: a store that takes no writes must not be asked with each request."""


class Rehasher:
    """Offer it every key that was looked up and accepted: it moves the secret in the background where that is due."""

    def __init__(
        self,
        repository: KeyRepository,
        digester: Digester,
        *,
        forget: Callable[[str], object] = lambda _: None,
        retry_after: float = RETRY_AFTER,
    ) -> None:
        """`forget` gets the id of a key that could not be changed, a while later: what is remembered is not offered again."""
        self._repository = repository
        self._digester = digester
        self._forget = forget
        self._retry_after = retry_after
        self._running: dict[str, asyncio.Task[None]] = {}

    def offer(self, found: Found, token: bytes) -> None:
        """`token` has opened `found`: move its secret if that is due and not under way. Never waits."""
        secret_id = found.secret.id
        if not self.is_due(found) or secret_id in self._running:
            return
        task = self._running[secret_id] = asyncio.create_task(self.rehash(found, token))
        task.add_done_callback(lambda _: self._running.pop(secret_id))

    async def close(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def is_due(self, found: Found) -> bool:
        """Whether the presented secret is kept under another pepper than the current one, by which the store goes."""
        # Where replicas have the two peppers the other way round, each would move it back at each use.
        return found.secret.pepper_id != self._digester.pepper.id and self._repository.goes_by_our_pepper

    async def rehash(self, found: Found, token: bytes) -> None:
        """Keep the secret of `found` under the current pepper; if that fails, the next use after a while tries again."""
        digest = self._digester.primary(token)

        def change(key: Key) -> Key:
            if key.secret(found.secret.digest) is None:
                return key
            return issue.rehashed(key, found.secret.id, digest, self._digester.pepper.id)

        try:
            await self._repository.carry_import(found.key.id, found.secret, imported_digest(token))
            await self._repository.update(found.key.id, change)
        except (StoreUnavailable, KeyIsRevoked, KeyIsNewer, UnknownKey) as error:
            _log.info("the secret of %s stays under its old digest for now: %s", found.key.id, error)
            if isinstance(error, StoreUnavailable):
                asyncio.get_running_loop().call_later(self._retry_after, self._forget, found.key.id)
