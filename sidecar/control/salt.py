"""Salts of what stands for addresses in the store. All replicas have the same one for the same use, and it outlives the pepper.

The store keeps it under each pepper, and only wrapped: without a pepper it says nothing of the addresses behind the numbers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sidecar.keys.digest import Pepper
from sidecar.store import names
from sidecar.store.client import Store

_SIZE = 32


@dataclass(frozen=True, slots=True)
class Use:
    """What a salt is for: where the store keeps it, and what sets its wrapping apart from that of others, 16 bytes at most."""

    name: str
    person: bytes


NUMBERS = Use(names.ANOMALY_SALTS, b"anomaly salt")
"""Of every number that the detection remembers."""
HASHES = Use(names.ADDRESS_SALTS, b"address salt")
"""Of clients' addresses as `log.client_address: hash` keeps them."""


class Salt:
    """The salt of one store for one use, for whoever knows the pepper in use or the one before it."""

    def __init__(
        self, store: Store, pepper: Pepper, previous: Pepper | None = None, *, use: Use = NUMBERS, first: bytes | None = None
    ) -> None:
        """`first` is what a store without any begins with; left out, it follows from the pepper."""
        self._store = store
        self._peppers = (pepper,) if previous is None else (pepper, previous)
        self._use = use
        self.value = first or first_salt(self._peppers[-1])
        """The salt as far as it is known: until it was read, the one that a store without any begins with."""

    async def read(self) -> bytes:
        """The store's salt; one that has none, or lost it, gets what is known here. Raises StoreUnavailable."""
        found = await self._find()
        if found[0] is None:
            # Before anything is numbered, so that the pepper in use is enough to read it from then on. Of two, the first decides.
            value = next((salt for salt in found if salt is not None), self.value)
            await self._store.call("HSETNX", self._use.name, self._peppers[0].id, self._wrapped(value, self._peppers[0]))
            found = await self._find()
        self.value = next((salt for salt in found if salt is not None), self.value)
        return self.value

    async def _find(self) -> list[bytes | None]:
        """What the store has under each pepper; None also for what is no salt."""
        stored = await self._store.call("HMGET", self._use.name, *(pepper.id for pepper in self._peppers))
        return [
            self._wrapped(one, pepper) if one is not None and len(one) == _SIZE else None
            for one, pepper in zip(stored, self._peppers, strict=True)
        ]

    def _wrapped(self, salt: bytes, pepper: Pepper) -> bytes:
        """`salt` as it is stored under `pepper`, and the other way round."""
        mask = hashlib.blake2b(digest_size=_SIZE, key=pepper.key, person=self._use.person).digest()
        return bytes(one ^ other for one, other in zip(salt, mask, strict=True))


def first_salt(pepper: Pepper) -> bytes:
    """What numbers were salted with before the store had a salt; memories of then go on with it."""
    return hashlib.blake2b(b"networks", digest_size=_SIZE, key=pepper.key).digest()
