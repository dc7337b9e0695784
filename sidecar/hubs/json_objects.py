"""Whether a request body is a JSON object in UTF-8 that can be read with certainty. Pure.

Validity is msgspec's word, but for half of a pair of surrogates, which JSON has and msgspec does not take.
"""

from __future__ import annotations

import re

import msgspec

from sidecar.refusals import BAD_BODY, Refused

MAX_SURROGATES = 100_000
"""Escapes that a body may have with half of a pair among them: each is written anew, so that the body can be read."""

_OBJECT = re.compile(rb"[ \t\r\n]*\{")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


def readable(body: bytes) -> bytes:
    """`body`; where it has half of a pair of surrogates, the same with U+FFFD in place of each, so that every value stays where it is.

    JSON has them (RFC 8259, section 8.2): Node.js writes a text so that was cut within a character. Raises Refused(BAD_BODY) for
    what is no JSON object in UTF-8, also when half of a pair stands beside too many others.
    """
    try:
        _require_object(body)
    except Refused:
        if not 0 < body.count(b"\\ud") + body.count(b"\\uD") <= MAX_SURROGATES:
            raise
        body = _SURROGATE.sub(rb"\\ufffd", body)
        _require_object(body)
    return body


def _require_object(body: bytes) -> None:
    try:
        if not body.isascii():
            # msgspec does not decode what it skips, and a hub may repair what is no UTF-8 into other text.
            body.decode()
        msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused(BAD_BODY, "The request body is not JSON in UTF-8.") from error
    except RecursionError as error:
        raise Refused(BAD_BODY, "The request body is nested too deeply.") from error
    if _OBJECT.match(body) is None:
        raise Refused(BAD_BODY, "The request body must be a JSON object.")
