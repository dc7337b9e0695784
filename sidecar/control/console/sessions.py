"""Console sessions: who has signed in with which admin token.

The store knows only a digest of the session id, so its contents open no session, and every replica
knows every session. Digest and record are made with the pepper, which the store never sees: whoever
writes to the store can end sessions, but neither make one nor turn one into another's.
A session ends with its idle time, its age, its sign-out, its admin token, or a change of the pepper.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil

import msgspec
from aiohttp import web

from sidecar.control.admin.authentication import Actor
from sidecar.control.admin.errors import FORBIDDEN, AdminError
from sidecar.control.console.guard import forged
from sidecar.keys.admin_tokens import AdminTokens
from sidecar.keys.digest import Pepper, digest
from sidecar.settings.declaration import Admin
from sidecar.store import names
from sidecar.store.client import Store

_ID_BYTES = 32
_LONGEST_ID = 64
_SEAL_LENGTH = 64
"""Hexadecimal digits in front of a record as it is stored."""
CSRF_HEADER = "X-CSRF-Token"


class _Stored(msgspec.Struct, frozen=True):
    token_id: str
    csrf: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Session:
    """A session that counts now."""

    actor: Actor
    csrf: str = field(repr=False)
    """What every form must send back."""
    id: str = field(repr=False)


class Sessions:
    """All methods but `cookie_name` raise StoreUnavailable; `clock` gives Unix seconds."""

    def __init__(self, store: Store, pepper: Pepper, tokens: AdminTokens, admin: Admin, clock: Callable[[], float]) -> None:
        self._store = store
        self._pepper = pepper
        self._tokens = tokens
        self._admin = admin
        self._clock = clock
        # Cookies are shared by all ports of a host: two sidecars on one must not overwrite each other's.
        self.cookie_name = f"{'__Host-' if admin.tls is not None else ''}sidecar-session-{admin.listen.port}"

    async def open(self, actor: Actor) -> Session:
        """A new session for the holder of an admin token, under an id that nobody has seen before."""
        session = Session(_of_session(actor), secrets.token_urlsafe(_ID_BYTES), secrets.token_urlsafe(_ID_BYTES))
        stored = _Stored(actor.id, session.csrf, self._clock())
        name = self._name(session.id)
        await self._store.call("SET", name, self._sealed(name, msgspec.json.encode(stored)), "EX", self._seconds_left(stored))
        return session

    async def find(self, request: web.Request, *, in_use: bool = True) -> Session | None:
        """The session of a request's cookie; a request that nobody made by hand (`in_use` false) does not keep it alive."""
        given = request.cookies.get(self.cookie_name, "")
        if not 0 < len(given) <= _LONGEST_ID:
            return None
        name = self._name(given)
        raw = await self._store.call("GET", name)
        if raw is None or not hmac.compare_digest(raw, self._sealed(name, raw[_SEAL_LENGTH:])):
            return None
        stored = msgspec.json.decode(raw[_SEAL_LENGTH:], type=_Stored)
        token = await self._tokens.get(stored.token_id)
        left = self._seconds_left(stored)
        if token is None or left <= 0:
            await self._store.call("DEL", name)
            return None
        if in_use:
            await self._store.call("EXPIRE", name, left)
        return Session(Actor("session", token.id, token.name, token.role), stored.csrf, given)

    async def close(self, session: Session) -> None:
        """End a session everywhere."""
        await self._store.call("DEL", self._name(session.id))

    async def actor(self, request: web.Request) -> Actor | None:
        """For calls of the API with the cookie: the actor; AdminError 403 when a change looks forged."""
        session = await self.find(request)
        if session is None:
            return None
        if request.method not in ("GET", "HEAD"):
            if forged(request.headers, request.host):
                raise AdminError(FORBIDDEN, "This request came from another site.")
            if not same(request.headers.get(CSRF_HEADER, ""), session.csrf):
                raise AdminError(FORBIDDEN, f"A change with the console's cookie needs its {CSRF_HEADER}.")
        return session.actor

    def put_cookie(self, request: web.Request, response: web.StreamResponse, session: Session) -> None:
        """Give the browser its session. The `request` is the sign-in: it tells of TLS that a proxy ends."""
        # The browser's own word about where the form was; whoever else says so only keeps the cookie from being sent.
        secure = self._admin.tls is not None or request.headers.get("Origin", "").startswith("https://")
        response.set_cookie(self.cookie_name, session.id, path="/", httponly=True, samesite="Strict", secure=secure)

    def drop_cookie(self, response: web.StreamResponse) -> None:
        """Take it back."""
        response.del_cookie(self.cookie_name, path="/", httponly=True, samesite="Strict", secure=self._admin.tls is not None)

    def _name(self, session_id: str) -> str:
        # No token has a blank: what is told of one kind of secret is nothing to another.
        return names.SESSIONS_PREFIX + digest(b"session " + session_id.encode("utf-8", "surrogateescape"), self._pepper)

    def _sealed(self, name: str, record: bytes) -> bytes:
        # The name alone would not do: who can watch the store's commands learns it of any id that he sends.
        return digest(b"session-record " + name.encode() + b" " + record, self._pepper).encode() + record

    def _seconds_left(self, stored: _Stored) -> int:
        age = self._clock() - stored.created_at
        return ceil(min(self._admin.session_idle, self._admin.session_age - age))


def same(given: str, expected: str) -> bool:
    """Compare without telling by the time how much was right."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())


def _of_session(actor: Actor) -> Actor:
    return Actor("session", actor.id, actor.name, actor.role)
