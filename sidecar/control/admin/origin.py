"""Where a call comes from and what it is called, in a harmless form: this goes into logs, the audit log and answers."""

from __future__ import annotations

import re
import secrets

from aiohttp import web

from sidecar.redaction import without_secrets

REQUEST_ID = web.RequestKey("request_id", str)
_REQUEST_ID_FORM = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LONGEST_AGENT = 256
_LONGEST_PATH = 200


def request_id(request: web.BaseRequest) -> str:
    """The client's X-Request-Id where it has a harmless form, else one of our own; the same all through a request."""
    if REQUEST_ID not in request:
        given = request.headers.get("X-Request-Id", "")
        harmless = _REQUEST_ID_FORM.fullmatch(given) and without_secrets(given) == given
        request[REQUEST_ID] = given if harmless else f"req_{secrets.token_hex(12)}"
    return request[REQUEST_ID]


def shown_path(request: web.Request) -> str:
    """The path that was asked for."""
    return without_secrets(request.path, _LONGEST_PATH)


def address(request: web.Request) -> str:
    """Where the connection comes from; `local` over a unix socket. Headers are not believed."""
    return (request.remote or "local").partition("%")[0]


def agent(request: web.Request) -> str:
    """The User-Agent, cut; bytes that are no text and characters that cannot be seen become `?`."""
    given = without_secrets(request.headers.get("User-Agent", ""), _LONGEST_AGENT)
    return "".join(character if character.isprintable() else "?" for character in given)
