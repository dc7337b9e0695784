"""What keeps other web pages out: origin checks, security headers, and where a sign-in may lead. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

PAGE_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Not "no-referrer": with it browsers send `Origin: null` with forms, and neither the sign-in nor `forged` learns where they were.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""For every page: any of them may hold a secret, so none is kept."""

HOME: Final = "/settings/api-keys"
# One slash and then no other, nor a backslash, which browsers read as one: never another host.
_LOCAL_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*")


def forged(headers: Mapping[str, str], host: str) -> bool:
    """Whether a change may come from a page of another site. Programs send neither header; they have no cookie either."""
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site != "same-origin"
    origin = headers.get("Origin")
    return origin is not None and origin.partition("://")[2].lower() != host.lower()


def from_another_site(headers: Mapping[str, str]) -> bool:
    """Whether somebody follows a link on another site: the browser then holds the session cookie back."""
    return headers.get("Sec-Fetch-Site") == "cross-site" and headers.get("Sec-Fetch-Mode") == "navigate"


def local(path: str) -> str:
    """`path` when it stays on this console, else the home page: a sign-in must not lead anywhere else."""
    return path if _LOCAL_PATH.fullmatch(path) else HOME
