"""The answers that the sidecar gives itself: refusals, preflights, and the hand-made pages of a profile. Pure."""

from __future__ import annotations

import math
import re
from email.utils import formatdate
from http import HTTPStatus

import msgspec

from sidecar.keys.record import Secret
from sidecar.refusals import BAD_CREDENTIAL, RETRY_AFTER, Refused
from sidecar.worker.error_document import ErrorBody, ErrorDocument

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_CORS = "access-control-allow-origin: *\r\naccess-control-expose-headers: *\r\n"
_HEADER_LIST = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z, \t-]{1,1024}")
_ID = "\0"
"""Stands for the request's id in an answer that is made once for all requests; nothing else in an answer contains it."""
_SOON = 60
"""The longest Retry-After, in seconds, of refusals that are kept ready-made."""
ALLOWED_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


def deprecation(secret: Secret) -> bytes:
    """What answers to a retiring secret say: it is deprecated (RFC 9745), and when it stops working (RFC 8594)."""
    lines = f"deprecation: @{int(secret.retired_at or secret.created_at)}\r\n"
    if secret.expires_at is not None:
        lines += f"sunset: {formatdate(secret.expires_at, usegmt=True)}\r\n"
    return lines.encode()


class Answers:
    """Builds complete answers for the data plane of one realm."""

    def __init__(self, realm: str) -> None:
        self._realm = realm
        self._usual: dict[tuple[int, int, bool, bool], tuple[bytes, bytes]] = {}
        """Ready-made refusals in their standard words, as the bytes before and behind the request's id: a refusal is to cost little."""

    def refusal(self, refused: Refused, request_id: str, *, keep_alive: bool, head_only: bool = False) -> bytes:
        """The answer to a refused request: status, fields and JSON body in one piece."""
        retry_after = refused.retry_after if refused.retry_after is not None else RETRY_AFTER.get(refused.refusal.code)
        seconds = 0 if retry_after is None else max(1, math.ceil(retry_after))
        if refused.headers or refused.param is not None or refused.detail != refused.refusal.message or seconds > _SOON:
            return self._refusal(refused, seconds, request_id, keep_alive, head_only)
        # Rows of the table live for ever, and some share a code.
        usual = (id(refused.refusal), seconds, keep_alive, head_only)
        parts = self._usual.get(usual)
        if parts is None:
            before, _, behind = self._refusal(refused, seconds, _ID, keep_alive, head_only).partition(_ID.encode())
            parts = self._usual[usual] = before, behind
        return b"%b%b%b" % (parts[0], request_id.encode("latin-1", "replace"), parts[1])

    def _refusal(self, refused: Refused, seconds: int, request_id: str, keep_alive: bool, head_only: bool) -> bytes:
        refusal = refused.refusal
        error = ErrorBody(message=refused.detail, type=refusal.type, param=refused.param, code=refusal.code)
        body = msgspec.json.encode(ErrorDocument(error))
        fields = "".join(f"{name}: {value}\r\n" for name, value in refused.headers)
        if seconds:
            fields += f"retry-after: {seconds}\r\n"
        if refusal.status == 401:
            fields += f"www-authenticate: {self._challenge(refused)}\r\n"
        elif refusal is BAD_CREDENTIAL:
            fields += f'www-authenticate: Bearer realm="{self._realm}", error="invalid_request"\r\n'
        elif refusal.status == 405:
            fields += f"allow: {ALLOWED_METHODS}\r\n" if "allow" not in dict(refused.headers) else ""
        return _complete(refusal.status, fields, "application/json", b"" if head_only else body, len(body), request_id, keep_alive)

    def page(self, content_type: str, body: bytes, request_id: str, *, keep_alive: bool, head_only: bool) -> bytes:
        """A 200 of our own."""
        return _complete(200, "", content_type, b"" if head_only else body, len(body), request_id, keep_alive)

    def preflight(self, requested_headers: bytes | None, request_id: str, *, keep_alive: bool) -> bytes:
        """The answer to OPTIONS (Fetch standard, CORS-preflight fetch): everything may be asked, with a key."""
        allowed = "*"
        if requested_headers is not None and _HEADER_LIST.fullmatch(requested_headers):
            allowed = requested_headers.decode("ascii")
        fields = (
            f"access-control-allow-methods: {ALLOWED_METHODS}\r\naccess-control-allow-headers: {allowed}\r\n"
            f"access-control-max-age: 600\r\nallow: {ALLOWED_METHODS}\r\n"
        )
        return _complete(204, fields, "", b"", None, request_id, keep_alive)

    def _challenge(self, refused: Refused) -> str:
        # RFC 6750 3.1: no error code when the request carried no credential at all.
        if refused.refusal.code == "missing_api_key":
            return f'Bearer realm="{self._realm}"'
        return f'Bearer realm="{self._realm}", error="invalid_token", error_description="{refused.refusal.message}"'


def _complete(status: int, fields: str, content_type: str, body: bytes, length: int | None, request_id: str, keep_alive: bool) -> bytes:
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\n{fields}{_CORS}cache-control: no-store\r\nx-request-id: {request_id}\r\n"
    if content_type:
        head += f"content-type: {content_type}\r\n"
    if length is not None:
        head += f"content-length: {length}\r\n"
    if not keep_alive:
        head += "connection: close\r\n"
    return f"{head}\r\n".encode("latin-1", "replace") + body
