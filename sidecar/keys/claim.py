"""Decides whose a digest is that two writers want at the same time: it is the first one's.

A token that exists already can be imported twice at once, by a client that repeats a request which is still
being served. Only one of the two keys can be found by the token, so only one may come to be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sidecar.keys.adoption import Adoption
from sidecar.keys.digest import SHA256, Digester, import_memory
from sidecar.keys.record import Key
from sidecar.store import names
from sidecar.store.client import Store, StoreUnavailable
from sidecar.store.script import load

FORGET_DIGEST = load("forget_digest")
PATIENCE = 1.5
"""Seconds after which a claim whose key was never written may be taken over: a writer needs a few trips, of 250 ms at most."""
_ATTEMPTS = 4
"""Tries, each of which may find that another writer was faster."""


class Claims:
    """Claims digests. `get` reads the key of an id."""

    def __init__(
        self, store: Store, adoption: Adoption, get: Callable[[str], Awaitable[Key | None]], *, patience: float = PATIENCE
    ) -> None:
        self._store = store
        self._adoption = adoption
        self._get = get
        self._patience = patience

    async def claim(self, digest: str, key_id: str) -> str:
        """The id of the key whose `digest` is: `key_id`, unless another one was first. Raises StoreUnavailable."""
        name = names.digest(digest)
        for _ in range(_ATTEMPTS):
            identity, taken = await self._store.pipeline([self._adoption.question, ("SET", name, key_id, "NX")])
            self._adoption.check(identity)
            if taken is not None:
                return key_id
            owner = await self.owner(digest)
            if not owner:
                continue
            if await self._get(owner) is not None:
                return owner
            # Its writer may be about to write the key, or have crashed before it could.
            await asyncio.sleep(self._patience)
            if await self._get(owner) is not None:
                return owner
            await self._store.run(FORGET_DIGEST, [name], [owner])
        raise StoreUnavailable("the secret is claimed too often; try again")

    async def claim_import(self, sha256: str, key_id: str, digester: Digester) -> str:
        """As `claim`, for a secret that is to be imported. Its first use takes `sha256` from the store, but not the memory of it."""
        if digester.previous is not None:
            owner = await self.owner(import_memory(sha256, digester.previous))
            if owner and await self._get(owner) is not None:
                return owner
        memory = import_memory(sha256, digester.pepper)
        owner = await self.claim(memory, key_id)
        if owner == key_id:
            owner = await self.claim(sha256, key_id)
            if owner != key_id:
                await self._store.run(FORGET_DIGEST, [names.digest(memory)], [key_id])
        return owner

    async def carry_import(self, sha256: str, pepper_id: str, key_id: str, digester: Digester) -> None:
        """Let the current pepper remember that `key_id` was imported, before its secret leaves `pepper_id` for that pepper.

        What an earlier pepper remembers nobody finds once that one is taken out: the token could be imported again, as a
        key that it does not open, and whose end does not end it.
        """
        if pepper_id != SHA256:
            earlier = digester.previous
            if earlier is None or await self.owner(import_memory(sha256, earlier)) != key_id:
                return
        await self.claim(import_memory(sha256, digester.pepper), key_id)

    async def owner(self, digest: str) -> str:
        """The id of the key that `digest` leads to; empty when it leads nowhere."""
        owner = await self._store.call("GET", names.digest(digest))
        return owner.decode() if owner is not None else ""
