"""Moves a secret to the current pepper when it is used: an imported one, or one of the pepper before.

The token is only known while a request with it is under way, so this happens in the worker; it is
the one change that a worker may make to a key.
"""

from __future__ import annotations

import logging

from sidecar.keys import issue
from sidecar.keys.digest import Digester
from sidecar.keys.reader import Found
from sidecar.keys.record import Key
from sidecar.keys.repository import KeyIsNewer, KeyIsRevoked, KeyRepository, UnknownKey
from sidecar.store.client import StoreUnavailable

log = logging.getLogger(__name__)


class Rehasher:
    """Call `rehash` in the background after a successful use of a secret for which `is_due`."""

    def __init__(self, repository: KeyRepository, digester: Digester) -> None:
        self._repository = repository
        self._digester = digester

    def is_due(self, found: Found) -> bool:
        """Whether the presented secret is kept under another pepper than the current one."""
        return found.secret.pepper_id != self._digester.pepper.id

    async def rehash(self, found: Found, token: bytes) -> None:
        """Keep the secret of `found` under the current pepper; if that fails, the next use tries again."""
        digest = self._digester.primary(token)

        def change(key: Key) -> Key:
            if key.secret(found.secret.digest) is None:
                return key
            return issue.rehashed(key, found.secret.id, digest, self._digester.pepper.id)

        try:
            await self._repository.update(found.key.id, change)
        except (StoreUnavailable, KeyIsRevoked, KeyIsNewer, UnknownKey) as error:
            log.info("the secret of %s stays under its old digest for now: %s", found.key.id, error)
