"""Reads keys from the store: all that the data plane does with keys, but for moving a secret to another pepper (rehash.py)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sidecar.keys import document
from sidecar.keys.adoption import Adoption
from sidecar.keys.record import Key, Secret
from sidecar.store import names
from sidecar.store.client import Store, StoreUnavailable
from sidecar.store.link import Command

AT_A_TIME = 500
"""Records of one trip: others wait while they are read, and each trip has a deadline of its own."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """A key and the one of its secrets that was presented."""

    key: Key
    secret: Secret


class KeyReader:
    """Look-ups. Each asks in the same trip whether the store is still the known one."""

    def __init__(self, store: Store, adoption: Adoption) -> None:
        self._store = store
        self._adoption = adoption
        self._damaged: set[str] = set()
        """Keys of whose records the log has told that they cannot be read."""

    @property
    def goes_by_our_pepper(self) -> bool:
        """Whether the store, when it was last asked, went by the pepper in use here, and not by the one before."""
        return self._adoption.is_ours

    async def find_first(self, digests: list[str], *, prove: bool = False) -> Found | None:
        """The key that has a secret with one of `digests`, whatever its state; None when there is none.

        They are all of one token, that of the current pepper first. With `prove` the server that answers must be the primary
        still; needed where no lease vouches for it. Raises StoreUnavailable, StoreNotAdopted among them: then nothing is known.
        """
        found = await self._find_any(digests, prove)
        if found is None and len(digests) > 1 and not self._store.answers_in_order:
            # Both entries may have been missed, that of before and that which was written before the other went. This may be under
            # any digest: a replica that has the peppers the other way round moves secrets the other way.
            found = await self._find_any(digests, prove)
        return found

    async def _find_any(self, digests: list[str], prove: bool) -> Found | None:
        # Backwards: whoever moves a secret writes its entry under the first digest before the one under another goes. Asked
        # for in their order, both could be missed, and a valid token be taken for unknown.
        questions = [("GET", names.digest(one)) for one in reversed(digests)]
        key_ids = await self._read(questions, prove)
        for key_id in reversed(key_ids):
            key = await self.get(key_id.decode(), prove=prove) if key_id is not None else None
            # By any of them: since the entry was read, another worker may have moved the secret.
            secret = next((one for digest in digests if (one := key.secret(digest)) is not None), None) if key is not None else None
            # An index entry without its record is what a writer leaves that died half way.
            if key is not None and secret is not None:
                return Found(key, secret)
        return None

    async def get(self, key_id: str, *, prove: bool = False) -> Key | None:
        """The key with this id; None when there is none. `prove`, and what it raises, are as for `find_first`."""
        (record,) = await self._read([("HGET", names.key(key_id), "record")], prove)
        return document.decode(record) if record is not None else None

    async def get_many(self, key_ids: list[str]) -> list[Key | None]:
        """As `get`, for several keys in one trip, or in several for very many; None also for a record that cannot be read.

        Whoever asks for many would rather have the others than none; the log tells which one is damaged.
        """
        found: list[Key | None] = []
        for first in range(0, max(len(key_ids), 1), AT_A_TIME):
            part = key_ids[first : first + AT_A_TIME]
            records = await self._read([("HGET", names.key(key_id), "record") for key_id in part], prove=False)
            found += [self._readable(key_id, record) for key_id, record in zip(part, records, strict=True)]
        return found

    async def _read(self, commands: Sequence[Command], prove: bool) -> list[Any]:
        ask = self._store.pipeline_of_primary if prove else self._store.pipeline
        identity, *replies = await ask([self._adoption.question, *commands])
        self._adoption.check(identity)
        return replies

    def _readable(self, key_id: str, record: bytes | None) -> Key | None:
        try:
            return document.decode(record) if record is not None else None
        except StoreUnavailable:
            if key_id not in self._damaged:
                self._damaged.add(key_id)
                _log.error("the record of key %s cannot be read, so lists lack it: a newer version wrote it, or somebody by hand", key_id)
            return None
