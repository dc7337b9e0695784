"""Makes a repeated request recognisable for a day (the `Idempotency-Key` header).

The id of what a request is going to make is fixed before it is made. So a repeat, even of a request
that died half way or is still under way, works on the same thing: either it is there already, or the
repeat makes it; never are there two.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from sidecar.store import names
from sidecar.store.client import Store

REMEMBERED_FOR = 86_400
"""Seconds."""
_MADE = ":made"


class IdempotencyConflict(Exception):
    """This Idempotency-Key was used with another request."""


@dataclass(frozen=True, slots=True)
class Claim:
    """`subject` is the id of what the request makes. One that is not the `first` may find it made already; `made` says that it was."""

    subject: str
    first: bool
    made: bool = False


class _Memory(msgspec.Struct, frozen=True):
    request: str
    subject: str


class Idempotency:
    """Claims, kept in the store and so common to all replicas."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def claim(self, actor: str, key: str, request: bytes, subject: str, *, as_written: bytes | None = None) -> Claim:
        """Claim `key` of `actor` for `request` (what is asked, of what, with which body), which would make `subject`.

        `as_written`: the same request with its body as it came, by which version 0.1.0 claimed.

        The first claim decides on the subject; every repeat within 24 hours gets the same one. Pass it
        to `KeyRepository.create` as the key's id, or to `rotate` as the secret's: they raise KeyExists
        or SecretExists when an earlier request has finished. Raises IdempotencyConflict when `key`
        came with another request, StoreUnavailable when the store cannot be asked.
        """
        name = _name(actor, key)
        memory = _Memory(_digest(request), subject)
        first, stored, made = await self._store.pipeline(
            [("SET", name, msgspec.json.encode(memory), "NX", "EX", REMEMBERED_FOR), ("GET", name), ("GET", name + _MADE)],
        )
        known = msgspec.json.decode(stored, type=_Memory) if stored is not None else memory
        if known.request != memory.request and (as_written is None or known.request != _digest(as_written)):
            raise IdempotencyConflict(key)
        return Claim(known.subject, first is not None, made == known.subject.encode())

    async def made(self, actor: str, key: str, subject: str) -> None:
        """Remember that what `key` of `actor` was claimed for is made; raises StoreUnavailable.

        For what may be forgotten within the day, as the secrets of a key that is rotated often: looked for in vain, it
        would be made once more.
        """
        # By its subject: the mark may outlive the claim, and says nothing of the next one under this name.
        await self._store.call("SET", _name(actor, key) + _MADE, subject, "EX", REMEMBERED_FOR)


def _name(actor: str, key: str) -> str:
    # Digests: what a client sends is neither part of a name in the store nor kept there.
    return names.IDEMPOTENCY_PREFIX + hashlib.sha256(f"{len(actor)}:{actor}{key}".encode()).hexdigest()


def _digest(request: bytes) -> str:
    return hashlib.sha256(request).hexdigest()
