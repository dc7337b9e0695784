"""Writes keys. A writer that was slow, crashed or is outdated can neither lose a change nor bring a revoked key back.

The order of writes makes every crash harmless: index entries come before the record that they lead
to and go after it; readers pass over entries that lead nowhere.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from msgspec.structs import replace

from sidecar.keys import document, issue, tombstone
from sidecar.keys.adoption import Adoption
from sidecar.keys.claim import FORGET_DIGEST, Claims
from sidecar.keys.digest import Digester, digest, imported_digest
from sidecar.keys.listing import Index, Page, Query
from sidecar.keys.reader import Found, KeyReader
from sidecar.keys.record import Key, Secret
from sidecar.keys.token import generate
from sidecar.keys.use import Use, read_uses
from sidecar.store import names
from sidecar.store.client import Store, StoreUnavailable
from sidecar.store.script import load

_log = logging.getLogger(__name__)

PUT_KEY = load("put_key")
_ATTEMPTS = 16
"""Tries to change a key that others change at the same time."""


class UnknownKey(Exception):
    """There is no key with this id."""


class RevisionConflict(Exception):
    """Somebody else has changed the key; `revision` is the one that it has now."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"the key has revision {revision} now; read it again and repeat the change")
        self.revision = revision


class KeyIsRevoked(Exception):
    """The key is revoked, which is final."""


class KeyIsNewer(Exception):
    """A newer version of the sidecar has written the key; only such a one may change it."""


class KeyExists(Exception):
    """There is a key with this id already: an earlier request made it."""


class SecretExists(Exception):
    """The key has a secret with this id already: an earlier request made it."""


class AlreadyImported(Exception):
    """This secret belongs to a key already; `key_id` says to which."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"this secret belongs to {key_id} already")
        self.key_id = key_id


@dataclass(frozen=True, slots=True)
class Issued:
    """A key with a new secret, and what it was before. The token exists here and nowhere else: show it once and forget it."""

    key: Key
    token: str = field(repr=False)
    before: Key | None = None


@dataclass(frozen=True, slots=True)
class Revoked:
    """A revoked key; `durable` says whether the revocation would survive the loss of the store's server."""

    key: Key
    durable: bool


class KeyRepository(KeyReader):
    """Creates and changes keys. All methods raise StoreUnavailable when the store cannot be asked."""

    def __init__(
        self,
        store: Store,
        adoption: Adoption,
        digester: Digester,
        *,
        tombstones: tombstone.Tombstones | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(store, adoption)
        self._digester = digester
        self._tombstones = tombstones
        self._clock = clock
        self._index = Index(store, self)
        self._claims = Claims(store, adoption, self.get)

    async def create(self, shape: Key, key_id: str | None = None) -> Issued:
        """A new key like `shape`, whose id, times, secrets and revision are made here.

        With `key_id` (from an idempotency claim) it gets this id, or KeyExists is raised.
        """
        now = self._clock()
        token = generate(self._digester.prefix)
        secret = issue.new_secret(token, self._digester, now)
        key = replace(shape, id=key_id or issue.new_id("key"), created_at=now, secrets=(secret,), revision=1, revoked_at=None)
        if key_id is not None and await self.get(key_id) is not None:
            raise KeyExists(key_id)
        if not await self._put(key, None, None):
            winner = await self.get(key.id)
            if winner is not None:
                await self._forget(winner, key, {secret.digest})
            raise KeyExists(key.id)
        return Issued(key, token)

    async def import_key(self, shape: Key, sha256: str, hint: str) -> Key:
        """A new key like `shape` for a token that exists already, by the SHA-256 of it in hex; `hint` is what may be shown of it.

        Raises AlreadyImported when a key has this secret.
        """
        now = self._clock()
        secret = issue.imported_secret(sha256, hint, now)
        key = replace(shape, id=issue.new_id("key"), created_at=now, secrets=(secret,), revision=1, revoked_at=None)
        owner = await self._claims.claim_import(sha256, key.id, self._digester)
        if owner != key.id:
            raise AlreadyImported(owner)
        await self._put(key, None, None, claimed=True)
        # Another's patience may have ended before this was written; then the key must not linger.
        owner = await self._claims.owner(sha256)
        if owner not in ("", key.id):
            await self.revoke(key.id)
            raise AlreadyImported(owner)
        return key

    async def carry_import(self, key_id: str, secret: Secret, sha256: str) -> None:
        """Call it before `secret` moves to the current pepper, with the SHA-256 of its token, in hex; see `Claims.carry_import`."""
        await self._claims.carry_import(sha256, secret.pepper_id, key_id, self._digester)

    async def update(self, key_id: str, change: Callable[[Key], Key], expected_revision: int | None = None) -> Key:
        """Apply `change`, a pure function, to the key; with `expected_revision` only to that revision of it.

        Raises UnknownKey, RevisionConflict, KeyIsRevoked or KeyIsNewer. A change to nothing writes nothing.
        """
        for _ in range(_ATTEMPTS):
            before, record = await self._current(key_id, expected_revision)
            after = change(before)
            if after == before:
                return before
            after = replace(after, id=before.id, created_at=before.created_at, revision=before.revision + 1)
            if await self._put(after, before, record):
                tombstone.note_ended(self._tombstones, before, after, self._clock())
                return after
        raise StoreUnavailable("the key changes too often; try again")

    async def rotate(self, key_id: str, grace: float, expected_revision: int | None = None, *, secret_id: str | None = None) -> Issued:
        """A new current secret; old ones open the key for `grace` seconds more at most. Raises as `update` does, or TooManySecrets.

        With `secret_id` (from an idempotency claim) the secret gets this id, or SecretExists is raised.
        """
        now = self._clock()
        token = generate(self._digester.prefix)
        secret = issue.new_secret(token, self._digester, now)
        secret = replace(secret, id=secret_id or secret.id)
        seen: list[Key] = []

        def change(key: Key) -> Key:
            seen.append(key)
            if any(one.id == secret.id for one in key.secrets):
                raise SecretExists(secret.id)
            return issue.rotated(key, secret, now, grace)

        # An earlier request may have made it and so have changed the revision that this one expects; another of the
        # same moment still may, until this one has written.
        await self._refuse_made(key_id, secret_id)
        try:
            return Issued(await self.update(key_id, change, expected_revision), token, seen[-1])
        except RevisionConflict:
            await self._refuse_made(key_id, secret_id)
            raise

    async def end_secret(self, key_id: str, secret_id: str) -> Key:
        """End a retiring secret now; raises KeyError when the key has none of this id, else as `update` does."""
        now = self._clock()
        return await self.update(key_id, lambda key: issue.without_secret(key, secret_id, now))

    async def revoke(self, key_id: str, expected_revision: int | None = None) -> Revoked:
        """Revoke, finally. Repeating it changes nothing. Raises UnknownKey, RevisionConflict, KeyIsNewer."""
        now = self._clock()
        try:
            key = await self.update(key_id, lambda key: issue.revoked(key, now), expected_revision)
        except KeyIsRevoked:
            found = await self.get(key_id)
            if found is None:
                raise UnknownKey(key_id) from None
            key = found
        tombstone.note(self._tombstones, key_id, now)
        return Revoked(key, await self._store.durable())

    async def identify(self, token: bytes) -> Found | None:
        """Whose key `token` is, imported or made here, under this pepper or the previous one."""
        digests = [self._digester.primary(token)]
        if self._digester.previous is not None:
            digests.append(digest(token, self._digester.previous))
        return await self.find_first([*digests, imported_digest(token)])

    async def list(self, query: Query) -> Page:
        """One page of keys, in the order that `query` asks for; raises ValueError for a cursor that was not made for it."""
        return await self._index.page(query, self._clock())

    async def count(self, *, revoked: bool = True) -> int:
        """How many keys there are, with the revoked ones or without."""
        return await self._index.count(revoked=revoked)

    async def uses(self, key_ids: Sequence[str]) -> dict[str, Use]:
        """When, how often and from where the keys and their secrets were used; keys never used are absent."""
        return await read_uses(self._store, key_ids)

    async def _refuse_made(self, key_id: str, secret_id: str | None) -> None:
        """Raise SecretExists when the key has the secret that an idempotency claim names."""
        known = await self.get(key_id) if secret_id is not None else None
        if known is not None and any(one.id == secret_id for one in known.secrets):
            raise SecretExists(secret_id) from None

    async def _current(self, key_id: str, expected_revision: int | None) -> tuple[Key, bytes]:
        identity, record = await self._store.pipeline([self._adoption.question, ("HGET", names.key(key_id), "record")])
        self._adoption.check(identity)
        if record is None:
            raise UnknownKey(key_id)
        key = document.decode(record)
        if key.revoked_at is not None:
            raise KeyIsRevoked(key_id)
        if document.is_newer(key):
            raise KeyIsNewer(key_id)
        if expected_revision not in (None, key.revision):
            raise RevisionConflict(key.revision)
        return key, record

    async def _put(self, key: Key, before: Key | None, record: bytes | None, *, claimed: bool = False) -> bool:
        """Write `key`; False when another writer was faster. With `claimed` its secret's digest leads to it already."""
        old = {secret.digest for secret in before.secrets} if before else set()
        new = old if claimed else {secret.digest for secret in key.secrets}
        identity, *_ = await self._store.pipeline([self._adoption.question, *(("SET", names.digest(one), key.id) for one in new - old)])
        self._adoption.check(identity)
        await self._index.add(key, before)
        replaced = before.revision if before else 0
        verdict = await self._store.run(
            PUT_KEY, [names.key(key.id)], [replaced, document.encode(key, record), key.revision, "1" if key.revoked_at is not None else "0"]
        )
        if verdict == 1:
            await self._forget(key, before, old - new)
            return True
        if before is not None:
            await self._withdraw(key)
        if verdict == -2:
            raise KeyIsRevoked(key.id)
        if verdict == -1:
            raise UnknownKey(key.id)
        return False

    async def _withdraw(self, key: Key) -> None:
        """Remove what leads to `key` as which it was not written, another writer being faster."""
        with suppress(StoreUnavailable):
            if (winner := await self.get(key.id)) is not None:
                # Digests stay: who is just moving the same secret may need them. Otherwise they lead nowhere.
                await self._forget(winner, key, set())

    async def _forget(self, key: Key, before: Key | None, digests: set[str]) -> None:
        """Remove what leads to `before` but not to `key`, as which it was written."""
        # The change stands already; what fails here leaves entries that lead nowhere.
        try:
            for reply in await self._store.run_many([(FORGET_DIGEST, [names.digest(one)], [key.id]) for one in sorted(digests)]):
                if isinstance(reply, StoreUnavailable):
                    raise reply
            while await self._index.settle(key, before):
                # A faster writer may have changed back what was removed here just now, or forth what was added.
                current = await self.get(key.id)
                if current is None or current.revision == key.revision:
                    break
                key, before = current, key
        except StoreUnavailable as error:
            _log.warning("the index has superfluous entries of %s: %s", key.id, error)
