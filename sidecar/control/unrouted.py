"""What a listener answers before any application sees a request, in the form that refusals have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from sidecar.refusals import EXPECTATION_FAILED, Refusal

_CONTINUE = "100-continue"

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def refused(refusal: Refusal, status: int) -> web.Response:
    """The refusal, sent with `status`; the connection ends with it."""
    error = {"message": refusal.message, "type": refusal.type, "param": None, "code": refusal.code}
    response = web.Response(status=status, body=msgspec.json.encode({"error": error}), content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    response.force_close()
    return response


def with_known_expectations(handler: _Handler) -> _Handler:
    """The same, but for an Expect that HTTP does not know: aiohttp's own answer to it, made before any other check, repeats it."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Expect", _CONTINUE).lower() != _CONTINUE:
            return refused(EXPECTATION_FAILED, EXPECTATION_FAILED.status)
        return await handler(request)

    return handle
