"""Who is calling: an admin token, or the console's session; everybody else is refused and slowed down.

A guesser is refused before the store is asked. Behind a reverse proxy all operators have one address, so
a neighbour's failures must not lock them out: from a throttled address whoever authenticated a short while
ago is still let through, and what has the form of an admin token is still looked up. The form is no secret,
so such look-ups have a bound of their own, for the store's sake; the tokens themselves cannot be guessed.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import ceil
from typing import Literal, Protocol

from aiohttp import web

from sidecar.control.admin.errors import (
    API_KEY_PRESENTED,
    INVALID_ADMIN_TOKEN,
    INVALID_REQUEST,
    MISSING_ADMIN_TOKEN,
    TOO_MANY_FAILURES,
    AdminError,
)
from sidecar.keys import token as token_form
from sidecar.keys.admin_tokens import PREFIX, Role, may
from sidecar.throttle import Throttle, source_of

_REMEMBERED = 256
_MAX_TOKEN = 256


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever acts; `type` and `id` go into the audit log."""

    type: Literal["admin_token", "session", "nobody"]
    id: str
    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether this actor's role includes `role`."""
        return may(self.role, role)


NOBODY = Actor("nobody", "", "", "viewer")
"""The actor of public calls and of failed authentication."""


class Tokens(Protocol):
    """Finds the holder of an admin token; raises StoreUnavailable."""

    async def actor(self, token: str) -> Actor | None:
        """The actor, or None when the token is unknown or revoked."""


class Sessions(Protocol):
    """The console's cookie sessions."""

    async def actor(self, request: web.Request) -> Actor | None:
        """The actor of the session cookie, None without one; AdminError when the request looks forged (CSRF)."""


Report = Callable[[AdminError, str], Awaitable[None]]
"""Told of each failed attempt and the address that it came from."""


class Authenticator:
    """Tells the actor of a request."""

    def __init__(
        self,
        tokens: Tokens,
        throttle: Throttle,
        lookups: Throttle,
        key_prefix: str,
        report: Report,
        sessions: Sessions | None = None,
    ) -> None:
        """`throttle` counts the failures of a source, `lookups` how often the store was asked although that one said to wait."""
        self._tokens = tokens
        self._throttle = throttle
        self._lookups = lookups
        self._key_prefix = key_prefix
        self._report = report
        self._sessions = sessions
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        """Digests of tokens that were good lately; only spares their holders the throttle."""

    async def actor(self, request: web.Request, address: str) -> Actor:
        """The actor; AdminError 401, 429 or 400, StoreUnavailable when it cannot be told."""
        headers = request.headers.getall("Authorization", [])
        if not headers:
            actor = await self._sessions.actor(request) if self._sessions is not None else None
            if actor is None:
                raise AdminError(MISSING_ADMIN_TOKEN)
            return actor
        if len(headers) > 1:
            raise AdminError(INVALID_REQUEST, "Authorization: is given twice.", param="Authorization")
        scheme, _, token = headers[0].partition(" ")
        return await self.holder(token.strip() if scheme.lower() == "bearer" else "", address)

    async def holder(self, token: str, address: str) -> Actor:
        """The actor of an admin token that `address` has sent; AdminError 401 or 429, StoreUnavailable when it cannot be told."""
        source = source_of(address)
        fingerprint = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        wait = self._throttle.wait(source) if fingerprint not in self._seen else 0.0
        if wait and not self._may_be_looked_up(token, source):
            raise AdminError(TOO_MANY_FAILURES, retry_after=ceil(wait))
        if not token.isascii() or not 0 < len(token) <= _MAX_TOKEN:
            return await self._refuse(AdminError(INVALID_ADMIN_TOKEN), source, address)
        if token_form.is_well_formed(token.encode(), self._key_prefix):
            return await self._refuse(AdminError(API_KEY_PRESENTED), source, address)
        actor = await self._tokens.actor(token)
        if actor is None:
            self._seen.pop(fingerprint, None)
            refusal = AdminError(TOO_MANY_FAILURES, retry_after=ceil(wait)) if wait else AdminError(INVALID_ADMIN_TOKEN)
            return await self._refuse(refusal, source, address)
        self._seen[fingerprint] = None
        self._seen.move_to_end(fingerprint)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return actor

    def _may_be_looked_up(self, token: str, source: str) -> bool:
        """Whether the store is asked although `source` was told to wait."""
        if not token.isascii() or not token_form.is_well_formed(token.encode(), PREFIX) or self._lookups.wait(source):
            return False
        # Before the answer is there: otherwise any number could be asked while the store takes its time.
        self._lookups.charge(source)
        return True

    async def _refuse(self, error: AdminError, source: str, address: str) -> Actor:
        self._throttle.charge(source)
        await self._report(error, address)
        raise error


def host_is_allowed(host: str, allowed: frozenset[str]) -> bool:
    """Whether the Host header `host` may be answered; refusing foreign names is what defeats DNS rebinding.

    An address is no name that somebody could point elsewhere, so addresses are all right.
    """
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    name = name.lower().rstrip(".")
    if name in allowed:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
