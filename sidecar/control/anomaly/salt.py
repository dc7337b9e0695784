"""The salt of every number that the detection remembers. All replicas have the same one, and it outlives the pepper.

The store keeps it under each pepper, and only wrapped: without a pepper it says nothing of the networks behind the numbers.
"""

from __future__ import annotations

import hashlib

from sidecar.keys.digest import Pepper
from sidecar.store import names
from sidecar.store.client import Store

_SIZE = 32


class Salt:
    """The salt of one store, for whoever knows the pepper in use or the one before it."""

    def __init__(self, store: Store, pepper: Pepper, previous: Pepper | None = None) -> None:
        self._store = store
        self._peppers = (pepper,) if previous is None else (pepper, previous)
        self.value = first_salt(self._peppers[-1])
        """The salt as far as it is known: until it was read, the one that a store without any begins with."""

    async def read(self) -> bytes:
        """The store's salt; one that has none, or lost it, gets what is known here. Raises StoreUnavailable."""
        found = await self._find()
        if found[0] is None:
            # Before anything is numbered, so that the pepper in use is enough to read it from then on. Of two, the first decides.
            value = next((salt for salt in found if salt is not None), self.value)
            await self._store.call("HSETNX", names.ANOMALY_SALTS, self._peppers[0].id, _wrapped(value, self._peppers[0]))
            found = await self._find()
        self.value = next((salt for salt in found if salt is not None), self.value)
        return self.value

    async def _find(self) -> list[bytes | None]:
        """What the store has under each pepper; None also for what is no salt."""
        stored = await self._store.call("HMGET", names.ANOMALY_SALTS, *(pepper.id for pepper in self._peppers))
        return [
            _wrapped(one, pepper) if one is not None and len(one) == _SIZE else None
            for one, pepper in zip(stored, self._peppers, strict=True)
        ]


def first_salt(pepper: Pepper) -> bytes:
    """What numbers were salted with before the store had a salt; memories of then go on with it."""
    return hashlib.blake2b(b"networks", digest_size=_SIZE, key=pepper.key).digest()


def _wrapped(salt: bytes, pepper: Pepper) -> bytes:
    """`salt` as it is stored under `pepper`, and the other way round."""
    mask = hashlib.blake2b(digest_size=_SIZE, key=pepper.key, person=b"anomaly salt").digest()
    return bytes(one ^ other for one, other in zip(salt, mask, strict=True))
