"""Verdicts as HTTP answers to a proxy. Pure.

nginx hands on neither body nor status of a refusal, so there the whole answer for the client travels in a
field, and nginx fetches it from `/nginx/answer` with that field.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

from sidecar.refusals import INVALID_REQUEST, Refused
from sidecar.worker.authz.dialect import Dialect
from sidecar.worker.authz.verdict import Denied, Granted, Verdict

_LINE = b"HTTP/1.1 200 OK\r\n"
_NO_STORE = b"cache-control: no-store\r\n"
_END = b"content-length: 0\r\n\r\n"
_OF_CONTENT = b"content-"
ANSWER = b"x-sidecar-answer"
LONGEST_ANSWER = 16 << 10


def reply(verdict: Verdict, dialect: Dialect) -> bytes:
    """The answer to a question."""
    if isinstance(verdict, Granted):
        return _granted(verdict, dialect)
    if dialect.carries_refusals:
        return verdict.answer
    return _packed(verdict)


def last(answer: bytes) -> bytes:
    """`answer`, told to be the last on its connection: else a proxy may put its next question where nobody reads any more."""
    return answer.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1)


def unpack(packed: bytes, *, head_only: bool) -> bytes:
    """The answer for the client that `reply` packed for nginx. Raises Refused when it is none."""
    try:
        answer = urlsafe_b64decode(packed) if len(packed) <= LONGEST_ANSWER else b""
    except ValueError:
        answer = b""
    head, blank, _ = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 ") or not blank:
        raise Refused(INVALID_REQUEST, "The proxy must hand on X-Sidecar-Answer as it was; its configuration lacks that.")
    return head + blank if head_only else answer


def _granted(verdict: Granted, dialect: Dialect) -> bytes:
    # Envoy stores no answers of an authorizer, and each field costs it a microsecond or two.
    parts = [_LINE, verdict.injected] if dialect.takes_removals else [_LINE, _NO_STORE, verdict.injected]
    if verdict.request_id:
        parts.append(verdict.request_id)
    parts.append(verdict.client)
    if dialect.takes_target:
        parts.append(b"x-sidecar-target: %b\r\n" % verdict.target)
    if verdict.dropped:
        parts.append(b"x-envoy-auth-headers-to-remove: %b\r\n" % verdict.dropped)
    if dialect.takes_fields:
        # What describes the body stays with it: repeated here, it would describe this empty answer.
        parts += [line for line in verdict.passed if line[: len(_OF_CONTENT)].lower() != _OF_CONTENT]
    parts.append(_END)
    return b"".join(parts)


def _packed(verdict: Denied) -> bytes:
    line = b"HTTP/1.1 401 Unauthorized\r\n" if verdict.status == 401 else b"HTTP/1.1 403 Forbidden\r\n"
    return line + b"cache-control: no-store\r\n%b: %b\r\n" % (ANSWER, urlsafe_b64encode(verdict.answer)) + _END
