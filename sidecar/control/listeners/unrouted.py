"""What a listener answers before any application sees a request, in the form that refusals have."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, BadHttpMethod, BadStatusLine, LineTooLong

from sidecar.control.admin.errors import ErrorBody, Fault
from sidecar.control.admin.origin import request_id
from sidecar.control.admin.rendering import json_response
from sidecar.refusals import EXPECTATION_FAILED, HEADERS_TOO_LARGE, INVALID_REQUEST, METHOD_NOT_ALLOWED, TARGET_TOO_LONG, Refusal

LONGEST_TARGET = 8192
"""Bytes of a request's target."""
LONGEST_FIELD = 8190
"""Bytes of a header line. Not as many as of a target: aiohttp's parser tells by the bound alone which of the two was too long."""
_CONTINUE = "100-continue"
# As the parser's error quotes it; nothing that was sent can begin a line of that.
_OTHER_METHOD = re.compile(r"""\n  b(['"])[!#$%&'*+.^_`|~0-9A-Za-z-]+ \S+ HTTP/1\.[01]\1""")

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def refusal_of(error: BaseException | None) -> Refusal:
    """Why bytes are no request, of which aiohttp's parser says `error`."""
    if isinstance(error, LineTooLong):
        return TARGET_TOO_LONG if error.args[1] == LONGEST_TARGET else HEADERS_TOO_LARGE
    if isinstance(error, BadHttpMessage) and error.message == "Too many headers received":
        return HEADERS_TOO_LARGE
    if isinstance(error, BadStatusLine) and _is_of_method(error) and _OTHER_METHOD.search(error.message):
        return METHOD_NOT_ALLOWED
    return INVALID_REQUEST


def _is_of_method(error: BadStatusLine) -> bool:
    # Methods of RTSP, which the parser knows, are told apart by its sentence alone.
    return isinstance(error, BadHttpMethod) or "Invalid method for HTTP" in error.message[:100]


def refused(refusal: Refusal, request: web.BaseRequest, allow: str = "") -> web.Response:
    """The answer to `request`, which ends its connection; `allow` are the methods to name where its own is the reason."""
    named = (("Allow", allow),) if refusal is METHOD_NOT_ALLOWED else ()
    error = ErrorBody(Fault(refusal.message, refusal.type, None, refusal.code))
    response = json_response(refusal.status, error, request_id(request), named)
    response.force_close()
    return response


def with_known_expectations(handler: _Handler) -> _Handler:
    """The same, but for an Expect that HTTP does not know: aiohttp's own answer to it, made before any other check, repeats it."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Expect", _CONTINUE).lower() != _CONTINUE:
            return refused(EXPECTATION_FAILED, request)
        return await handler(request)

    return handle
