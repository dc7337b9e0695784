"""Tokens for the admin API: who may read, manage keys, manage tokens. Kept as keyed digests, shown once.

They have the form of API keys with a prefix of their own and live apart from them, so neither is
ever accepted in the other's place.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec.structs import replace

from sidecar.keys import tombstone
from sidecar.keys.adoption import Adoption
from sidecar.keys.digest import Digester
from sidecar.keys.first_token import FirstToken
from sidecar.keys.issue import new_id
from sidecar.keys.token import generate, hint
from sidecar.store import names
from sidecar.store.client import Store, StoreUnavailable
from sidecar.store.script import load
from sidecar.store.stored import UNREADABLE, members_of

PREFIX: Final = "sat"
FIRST_NAME: Final = "first"
USED_AGAIN_AFTER: Final = 60.0
"""Seconds after a use that was noted in which further ones are not: `last_used_at` is that exact."""

_CHANGE = load("change_admin_token")

_log = logging.getLogger(__name__)

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")
"""Each may do what those before it may."""


class UnknownAdminToken(Exception):
    """There is no admin token with this id."""


class LastAdminToken(Exception):
    """There is no other admin token that can make others."""


class AdminToken(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of an admin token; `last_used_at` is exact to a minute."""

    id: str
    name: str
    role: Role
    hint: str
    created_at: float
    revoked_at: float | None = None
    last_used_at: float | None = None


@dataclass(frozen=True, slots=True)
class IssuedAdminToken:
    """A new admin token; the secret exists here and nowhere else."""

    record: AdminToken
    token: str = field(repr=False)


class AdminTokens:
    """All methods raise StoreUnavailable (StoreNotAdopted among them) when the store cannot be asked.

    A record that cannot be read, such as one of a newer version with a role that is unknown here, opens nothing and is in
    no list; it can be revoked by its id.
    """

    def __init__(
        self,
        store: Store,
        adoption: Adoption,
        digester: Digester,
        *,
        tombstones: tombstone.Tombstones | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._adoption = adoption
        self._digester = Digester(PREFIX, digester.pepper, digester.previous)
        self._tombstones = tombstones
        self._clock = clock
        self._first: FirstToken | None = None
        self._used: dict[str, float] = {}
        self._told: set[str] = set()
        """Digests of the records of which the log has said already that they cannot be read."""

    async def create(self, name: str, role: Role) -> IssuedAdminToken:
        """A new token."""
        token = generate(PREFIX)
        record = AdminToken(new_id(PREFIX), name, role, hint(token), self._clock())
        await self._write(self._digester.primary(token.encode()), record)
        return IssuedAdminToken(record, token)

    async def verify(self, token: bytes) -> AdminToken | None:
        """The record of `token`, or None if it is none that counts: unknown, malformed, revoked, or with a record that cannot be read."""
        found = await self._find(token)
        if found is not None and found[0] != self._digester.primary(token):
            # Known by the previous pepper: from now on by the current one, unless it was revoked meanwhile.
            digest, raw = found
            moved = 0
            # A store that takes no writes must not keep out whoever comes to mend it: the next use tries again.
            with suppress(StoreUnavailable):
                moved = await self._change(digest, raw, self._digester.primary(token), raw)
            if moved != 1:
                found = await self._find(token)
        record = self._decode(*found) if found is not None else None
        if record is None or record.revoked_at is not None:
            return None
        return await self._note_use(record)

    async def get(self, token_id: str) -> AdminToken | None:
        """The token with this id; None when there is none, or when it is revoked."""
        return (await self._live()).get(token_id)

    async def list(self) -> tuple[AdminToken, ...]:
        """All tokens that are not revoked, oldest first."""
        records = await self._live()
        used = await self._store.call("HGETALL", names.ADMIN_TOKENS_USED)
        known = [replace(record, last_used_at=_time(used.get(record.id.encode()))) for record in records.values()]
        return tuple(sorted(known, key=lambda record: (record.created_at, record.id)))

    async def revoke(self, token_id: str, *, keep_an_admin: bool = False) -> AdminToken:
        """Revoke, finally; raises UnknownAdminToken, also when it is revoked already.

        With `keep_an_admin` it raises LastAdminToken when no other token of role admin would be left. Of a record that
        cannot be read comes back what can be, with the least role.
        """
        while True:
            known = ((digest, raw, members_of(raw)) for digest, raw in (await self._all()).items())
            found = next((one for one in known if one[2].get("id") == token_id and one[2].get("revoked_at") is None), None)
            if found is None:
                raise UnknownAdminToken(token_id)
            digest, raw, members = found
            # Kept as revoked, so that a token file which still holds it does not bring it back; and with every member
            # that it has, for a newer version knows what they mean.
            members["revoked_at"] = self._clock()
            verdict = await self._change(
                digest, raw, digest, msgspec.json.encode(members), keep_an_admin and members.get("role") == "admin"
            )
            if verdict == -1:
                raise LastAdminToken(token_id)
            if verdict == 1:
                tombstone.note(self._tombstones, token_id, members["revoked_at"])
                self._note_revoked(digest)
                return _readable(members)

    async def living(self, token_ids: Collection[str]) -> tuple[str, ...]:
        """Those of the ids whose token the store has as not revoked, be its record readable or not."""
        found = map(members_of, (await self._all()).values())
        living = [members.get("id") for members in found if members.get("revoked_at") is None]
        return tuple(one for one in living if isinstance(one, str) and one in token_ids)

    async def ensure_first(self, file: Path) -> None:
        """See to it that `file` (mode 0600) holds a token, and that the store knows it as an `admin`.

        A token in the file that was revoked stays revoked, whatever the store has forgotten; where it has no admin any more,
        a new token takes its place. Raises OSError when the file cannot be made.
        """
        self._first = FirstToken(file, PREFIX)
        await self._see_to(self._first, self._first.read_or_make())

    async def look_at_first(self) -> None:
        """The same for a store that may be another now, or where another replica revoked. A file that is gone is made at the next start."""
        try:
            if self._first is not None and self._digester.is_possible(token := self._first.read()):
                await self._see_to(self._first, token)
        except OSError as error:
            _log.error("the first admin token cannot be looked at: %s", error)

    async def _see_to(self, first: FirstToken, token: bytes) -> None:
        primary = self._digester.primary(token)
        while (found := await self._find(token)) is not None and found[0] != primary:
            # Nobody uses a revoked one, so it moves here: left under the previous pepper, it would be taken for a new one without that.
            await self._change(*found, primary, found[1])
        if found is not None:
            await self._compare(first, token, members_of(found[1]))
            if not first.is_revoked(token):
                return
        if first.is_revoked(token):
            if any(record.role == "admin" for record in (await self._live()).values()):
                return
            token = first.renew()
        record = AdminToken(new_id(PREFIX), FIRST_NAME, "admin", hint(token.decode()), self._clock())
        await self._write(self._digester.primary(token), record)

    async def _compare(self, first: FirstToken, token: bytes, members: dict[str, Any]) -> None:
        """Whichever of the store and the file's side knows that the token is revoked tells the other."""
        if members.get("revoked_at") is not None:
            first.note_revoked(token)
        elif first.is_revoked(token):
            with suppress(UnknownAdminToken):  # somebody else was faster
                revoked = await self.revoke(str(members.get("id")))
                _log.warning("the store had lost the revocation of %s, the first admin token; it is revoked again", revoked.id)

    def _note_revoked(self, digest: str) -> None:
        """Beside its file, if the token with `digest` is the first one."""
        try:
            if self._first is not None and digest in self._digester.candidates(token := self._first.read()):
                self._first.note_revoked(token)
        except OSError as error:
            _log.error("whether it is the first admin token that was revoked cannot be seen: %s", error)

    async def _find(self, token: bytes) -> tuple[str, bytes] | None:
        """The digest by which `token` is known, and its record as it is stored."""
        digests = self._digester.candidates(token)
        if not digests:
            return None
        identity, found = await self._store.pipeline([self._adoption.question, ("HMGET", names.ADMIN_TOKENS, *digests)])
        self._adoption.check(identity)
        return next(((digest, raw) for digest, raw in zip(digests, found, strict=True) if raw is not None), None)

    async def _all(self) -> dict[str, bytes]:
        """Records as they are stored, by digest."""
        identity, found = await self._store.pipeline([self._adoption.question, ("HGETALL", names.ADMIN_TOKENS)])
        self._adoption.check(identity)
        return {digest.decode(): raw for digest, raw in found.items()}

    async def _live(self) -> dict[str, AdminToken]:
        """By id, every record that can be read and is not revoked."""
        records = [self._decode(digest, raw) for digest, raw in (await self._all()).items()]
        return {record.id: record for record in records if record is not None and record.revoked_at is None}

    def _decode(self, digest: str, raw: bytes) -> AdminToken | None:
        """A record as it is stored; None, told once, when it cannot be read: one such record must not hide the others."""
        try:
            return msgspec.json.decode(raw, type=AdminToken)
        except UNREADABLE:
            if digest not in self._told:
                self._told.add(digest)
                _log.warning("the record of admin token %s cannot be read; it opens nothing", members_of(raw).get("id", "(without an id)"))
            return None

    async def _change(self, digest: str, seen: bytes, new_digest: str, record: bytes, keep_an_admin: bool = False) -> int:
        """Replace a record that is still as it was seen; what the script says."""
        self._adoption.check(await self._store.call(*self._adoption.question))
        return int(await self._store.run(_CHANGE, [names.ADMIN_TOKENS], [digest, seen, new_digest, record, "1" if keep_an_admin else ""]))

    async def _write(self, digest: str, record: AdminToken) -> None:
        identity = await self._store.call(*self._adoption.question)
        self._adoption.check(identity)
        await self._store.call("HSET", names.ADMIN_TOKENS, digest, msgspec.json.encode(record))

    async def _note_use(self, record: AdminToken) -> AdminToken:
        now = self._clock()
        # Either way: a clock that was put back would note no use until it is again where it was.
        if abs(now - self._used.get(record.id, 0.0)) >= USED_AGAIN_AFTER:
            self._used[record.id] = now
            # Nobody is refused because this could not be noted.
            with suppress(StoreUnavailable):
                await self._store.call("HSET", names.ADMIN_TOKENS_USED, record.id, repr(now))
        return replace(record, last_used_at=self._used[record.id])


def may(role: Role, needed: Role) -> bool:
    """Whether `role` includes what `needed` may do."""
    return ROLES.index(role) >= ROLES.index(needed)


def _readable(members: dict[str, Any]) -> AdminToken:
    try:
        return msgspec.convert(members, AdminToken)
    except msgspec.ValidationError:
        told = {name: value for name in ("name", "hint") if isinstance(value := members.get(name), str)}
        return AdminToken(members["id"], told.get("name", ""), "viewer", told.get("hint", ""), 0.0, members["revoked_at"])


def _time(raw: bytes | None) -> float | None:
    """When a token was used; None when that was never noted, or cannot be read: it hides no token."""
    try:
        time = float(raw) if raw is not None else math.nan
    except ValueError:
        return None
    return time if math.isfinite(time) else None
