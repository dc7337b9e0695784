"""How an AIGNE hub finds out who is asking, its weak sides included. Pure.

A real hub believes `x-user-did` and `x-user-role` on its own port, because the gateway before it is
supposed to have set them. The demo hub does the same: a test that gets in by them has found a hole
in the sidecar.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any, Literal

Role = Literal["", "guest", "member", "admin", "owner"]


class TokenInManyPlaces(Exception):
    """Two places hold a credential: the hub answers 400, in HTML."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the hub thinks is asking; `did` is empty for an anonymous caller."""

    did: str = ""
    role: str = ""


ANONYMOUS = Identity()


def find_token(headers: Mapping[str, str], query: Mapping[str, str], body: Any) -> str:
    """The credential of a request, empty when there is none. Raises TokenInManyPlaces."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    others = [
        text
        for text in (
            _cookie(headers.get("Cookie", "")),
            query.get("access_token"),
            body.get("access_token") if isinstance(body, dict) else None,
        )
        if isinstance(text, str) and text
    ]
    if len(others) > 1 or bearer in others:
        raise TokenInManyPlaces
    return bearer or (others[0] if others else "")


def by_access_key(token: str, access_key: str) -> Identity:
    """v2, usage and user routes: who holds the access key. A bad one is as good as none."""
    return Identity("z1demoOwner", "guest") if token == access_key else ANONYMOUS


def by_headers(headers: Mapping[str, str]) -> Identity:
    """v1 and management routes: who the gateway is supposed to have let in."""
    return Identity(headers.get("x-user-did", ""), headers.get("x-user-role", ""))


def _cookie(text: str) -> str:
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load(text)
    except CookieError:
        return ""
    return cookies["login_token"].value if "login_token" in cookies else ""
