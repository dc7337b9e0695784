"""From an answer or an error to an HTTP response: JSON by default, never cached, never shared with another origin.

No `Access-Control-*` header is ever sent: no web page but the console may call this API.
"""

from __future__ import annotations

import logging
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
_JSON = "application/json"

log = logging.getLogger(__name__)


def json_response(status: int, document: Any, request_id: str, headers: tuple[tuple[str, str], ...] = ()) -> web.Response:
    """`document` as JSON."""
    response = web.Response(status=status, body=msgspec.json.encode(document), content_type=_JSON, charset="utf-8")
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
    response = web.StreamResponse(status=answer.status, headers=HEADERS)
    response.headers["X-Request-Id"] = request_id
    response.headers["Content-Type"] = f"{answer.media}; charset=utf-8"
    response.headers["Vary"] = "Accept"
    response.headers["Content-Disposition"] = f'attachment; filename="{answer.filename}"'
    # The first piece is made before the head is sent: a query that fails at once is still a proper error.
    pieces = aiter(answer.stream)
    first = await anext(pieces, b"")
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    try:
        await response.write(first)
        async for piece in pieces:
            await response.write(piece)
    except ConnectionError:
        # Whoever has left needs no more of it, and is no failure here.
        return response
    except Exception:
        log.exception("an export of %s broke off", shown_path(request))
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


def negotiate(accept: list[str], offered: tuple[Media, ...]) -> Media | None:
    """What of `offered` the Accept headers name and want no less than JSON; of what they want equally, what comes first. None is JSON."""
    weights = weights_of(",".join(accept))
    json = next((weights[name] for name in (_JSON, "application/*", "*/*") if name in weights), 0.0)
    choices: dict[str, Media | None] = {_JSON: None, **{media: media for media in offered}}
    best = max((name for name in weights if name in choices), key=weights.__getitem__, default=_JSON)
    return choices[best] if weights.get(best, 0.0) > 0 and weights[best] >= json else None
