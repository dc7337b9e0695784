"""Identify: which key does this request carry? The credential's form is judged before the store is asked."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol
from urllib.parse import unquote_to_bytes

from sidecar.keys.cache import Answer
from sidecar.keys.reader import Found
from sidecar.keys.record import Key, Secret, status
from sidecar.keys.token import HUB_KEY_PREFIX, SENT
from sidecar.refusals import (
    API_KEY_DISABLED,
    API_KEY_EXPIRED,
    API_KEY_REVOKED,
    API_KEY_ROTATED,
    BAD_CREDENTIAL,
    INVALID_API_KEY,
    MISSING_API_KEY,
    TOO_MANY_FAILURES,
    Refusal,
    Refused,
)
from sidecar.throttle import source_of
from sidecar.worker.client.request_head import RequestHead

LONGEST_TOKEN = 4096
"""Bytes; a longer credential is not looked at. Beyond `keys.digest.LONGEST_TOKEN` it is nobody's key, but may be one of the hub itself."""
_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +(%b)" % SENT)
_NESTING = re.compile(rb"[\[\].]")
_HUB_KEY_PREFIX = HUB_KEY_PREFIX.encode()
_STATUS_REFUSALS: dict[str, Refusal] = {"expired": API_KEY_EXPIRED, "revoked": API_KEY_REVOKED, "disabled": API_KEY_DISABLED}


class Verifier(Protocol):
    """Finds keys by token: from the cache while its lease holds, else from the store."""

    def cached(self, token: bytes) -> Answer:
        """The key, None when the token is known to be nobody's, or MISS. Never waits."""

    async def resolve(self, token: bytes) -> Found | None:
        """The key, or None when no key has this token. Raises StoreUnavailable."""


class Attempts(Protocol):
    """Counts failed attempts by source address."""

    def wait(self, source: str) -> float:
        """Seconds until another failure is answered in full; 0 when it may be now."""

    def charge(self, source: str) -> None:
        """Count a failure."""


def credential(head: RequestHead) -> bytes:
    """The one bearer token of a request (RFC 6750 2.1).

    Raises Refused: missing_api_key, invalid_api_key for another scheme, invalid_request for more than
    one credential or a broken field.
    """
    if head.token is not None and head.target.query is None:
        return _not_too_long(head.token)
    values = head.all(b"authorization")
    if not values or not values[0]:
        if len(values) > 1:
            raise Refused(BAD_CREDENTIAL)
        raise Refused(MISSING_API_KEY)
    value = values[0]
    if len(values) > 1 or b"," in value or _has_parameter(head.target.query, b"access_token"):
        raise Refused(BAD_CREDENTIAL)
    match = _BEARER.fullmatch(value)
    if match is None:
        scheme, _, rest = value.partition(b" ")
        if scheme.lower() != b"bearer":
            raise Refused(INVALID_API_KEY, "Only Authorization: Bearer <key> is accepted.")
        raise Refused(BAD_CREDENTIAL if rest.strip() else MISSING_API_KEY)
    return _not_too_long(match[1])


def _not_too_long(token: bytes) -> bytes:
    if len(token) > LONGEST_TOKEN:
        raise Refused(INVALID_API_KEY)
    return token


def judge(key: Key, secret: Secret, now: float) -> None:
    """Raise Refused when the key, or the secret that opened it, is not live at `now`.

    The code tells why: only somebody who holds the secret learns it.
    """
    if key.revoked_at is None and not key.disabled and key.expires_at is None and secret.state == "current" and secret.expires_at is None:
        return
    state = status(key, now)
    if state != "active":
        raise Refused(_STATUS_REFUSALS[state])
    if secret.state == "revoked" or (secret.expires_at is not None and now >= secret.expires_at):
        raise Refused(API_KEY_ROTATED)


def end_of(key: Key, secret: Secret) -> float | None:
    """When `judge` will say no by itself, in Unix seconds; None when only a change can make it."""
    if key.expires_at is None or secret.expires_at is None:
        return key.expires_at if secret.expires_at is None else secret.expires_at
    return min(key.expires_at, secret.expires_at)


class Identifier:
    """Turns a request's credential into a key."""

    def __init__(self, verifier: Verifier, attempts: Attempts, accepted: Callable[[Found, bytes], None]) -> None:
        """`accepted` gets each key that was asked from the store and is live, with its token; it must not wait."""
        self._verifier = verifier
        self._attempts = attempts
        self.accepted = accepted

    def known(self, token: bytes) -> Found | None:
        """The key, when the cache may answer. Never waits. Raises Refused for a token that is known to be nobody's."""
        found = self._verifier.cached(token)
        if found is None:
            raise _nobodys(token)
        return found if isinstance(found, Found) else None

    async def find(self, token: bytes) -> Found:
        """The key that `token` opens, asked from the store. Raises Refused(invalid_api_key) or StoreUnavailable."""
        found = await self._verifier.resolve(token)
        if found is None:
            raise _nobodys(token)
        return found

    def failure(self, refused: Refused, source: str) -> Refused:
        """Count a failed attempt of `source`; the refusal to answer with."""
        if refused.refusal is not INVALID_API_KEY or not source:
            return refused
        if ":" in source:
            source = source_of(source)
        wait = self._attempts.wait(source)
        if wait > 0:
            return Refused(TOO_MANY_FAILURES, retry_after=wait)
        self._attempts.charge(source)
        return refused


def _nobodys(token: bytes) -> Refused:
    if token.startswith(_HUB_KEY_PREFIX):
        return Refused(INVALID_API_KEY, "This is an access key of the hub itself; send an API key that was issued for this service.")
    return Refused(INVALID_API_KEY)


def _has_parameter(query: bytes | None, name: bytes) -> bool:
    return query is not None and name in parameter_names(query)


def parameter_names(query: bytes) -> list[bytes]:
    """The names of all parameters of a query, each part of one by itself: `a[b]` and `a.b` name `a` and `b`.

    Query parsers of hubs nest such names, and some read `[a]` as `a`. `;` separates too: some servers hold it does.
    """
    names = [parameter_name(pair) for pair in query.replace(b";", b"&").split(b"&")]
    if _NESTING.search(b"".join(names)) is None:
        return names
    # Split all at once: a bracket between two names does what one within a name does.
    return [part.strip() for part in _NESTING.split(b"[".join(names))]


def has_parameter_of(names: frozenset[bytes], query: bytes) -> bool:
    """Whether a parameter of `query` has one of `names`, which are in small letters; some hubs, as with ASP.NET, read any."""
    return any(name.lower() in names for name in parameter_names(query))


def parameter_name(pair: bytes) -> bytes:
    """The decoded name of one `name=value` of a query, in one piece."""
    name = pair.partition(b"=")[0]
    if b"%" in name or b"+" in name:
        name = unquote_to_bytes(name.replace(b"+", b" "))
    return name.strip()
