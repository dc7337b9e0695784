"""From an answer or an error to an HTTP response: JSON by default, never cached, never shared with another origin.

No `Access-Control-*` header is ever sent: no web page but the console may call this API.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from aiohttp import web

from sidecar.control.accepted import weights_of
from sidecar.control.admin.endpoint import Answer, Media
from sidecar.control.admin.errors import AdminError, body
from sidecar.control.admin.origin import shown_path

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
REALM = "sidecar-admin"
WHOLE = 1 << 20
"""Bytes from which on a document is sent while the rest of it is still being made; smaller ones have a Content-Length."""
_JSON = "application/json"

_log = logging.getLogger(__name__)


def json_response(status: int, document: Any, request_id: str, headers: tuple[tuple[str, str], ...] = ()) -> web.Response:
    """`document` as JSON."""
    return _whole(status, msgspec.json.encode(document), request_id, headers)


def _whole(status: int, body: bytes, request_id: str, headers: tuple[tuple[str, str], ...]) -> web.Response:
    response = web.Response(status=status, body=body, content_type=_JSON, charset="utf-8")
    response.headers.update(HEADERS)
    response.headers["X-Request-Id"] = request_id
    for name, value in headers:
        response.headers[name] = value
    return response


def error_response(error: AdminError, request_id: str, headers: tuple[tuple[str, str], ...] = ()) -> web.Response:
    """`error` in the form that every refusal has."""
    response = json_response(error.problem.status, body(error), request_id, headers)
    if error.problem.status == 401:
        detail = ', error="invalid_token"' if error.problem.code != "missing_admin_token" else ""
        response.headers["WWW-Authenticate"] = f'Bearer realm="{REALM}"{detail}'
    if error.problem.retry_after:
        response.headers["Retry-After"] = str(error.problem.retry_after)
    return response


async def respond(request: web.Request, answer: Answer, request_id: str) -> web.StreamResponse:
    """Send `answer`; a stream that fails in the middle is broken off, so that it never looks complete."""
    if answer.stream is None:
        return json_response(answer.status, answer.document, request_id, answer.headers)
    # What is sent first is made before the head is sent: a query that fails until then is still a proper error.
    pieces = aiter(answer.stream)
    first, ended = await _begun(pieces, WHOLE if answer.media is None else 1)
    if answer.media is None and ended:
        return _whole(answer.status, first, request_id, answer.headers)
    response = _head(answer, request_id)
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    try:
        await response.write(first)
        async for piece in pieces:
            await response.write(piece)
            # To a client that takes what it gets, writing never waits, and others want to be served too.
            await asyncio.sleep(0)
    except ConnectionError:
        # Whoever has left needs no more of it, and is no failure here.
        return response
    except Exception:
        _log.exception("the answer to %s broke off", shown_path(request))
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


async def _begun(pieces: AsyncIterator[bytes], enough: int) -> tuple[bytes, bool]:
    """The first pieces, of `enough` bytes at least or all, and whether that is all."""
    begun = bytearray()
    async for piece in pieces:
        begun += piece
        await asyncio.sleep(0)
        if len(begun) >= enough:
            return bytes(begun), False
    return bytes(begun), True


def _head(answer: Answer, request_id: str) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=HEADERS)
    response.headers["X-Request-Id"] = request_id
    response.headers["Content-Type"] = f"{answer.media or _JSON}; charset=utf-8"
    for name, value in answer.headers:
        response.headers[name] = value
    if answer.media is not None:
        response.headers["Vary"] = "Accept"
        response.headers["Content-Disposition"] = f'attachment; filename="{answer.filename}"'
    return response


def negotiate(accept: list[str], offered: tuple[Media, ...]) -> Media | None:
    """What of `offered` the Accept headers name and want no less than JSON; of what they want equally, what comes first. None is JSON."""
    weights = weights_of(",".join(accept))
    json = next((weights[name] for name in (_JSON, "application/*", "*/*") if name in weights), 0.0)
    choices: dict[str, Media | None] = {_JSON: None, **{media: media for media in offered}}
    best = max((name for name in weights if name in choices), key=weights.__getitem__, default=_JSON)
    return choices[best] if weights.get(best, 0.0) > 0 and weights[best] >= json else None
