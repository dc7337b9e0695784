"""Places in the call log, as pages name them: the time and the request id of a call. Pure."""

from __future__ import annotations

import base64
import binascii
import math

LAST_ID = chr(0x10FFFF)
"""Sorts behind every request id: with it, a place is behind all calls of its time."""


def write_cursor(time: float, request_id: str) -> str:
    """A place as text for a URL."""
    return base64.urlsafe_b64encode(f"{time!r} {request_id}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[float, str]:
    """The place; ValueError when it was not made here."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise ValueError("not a cursor of this log") from error
    time, space, request_id = text.partition(" ")
    if not space or not math.isfinite(float(time)):
        raise ValueError("not a cursor of this log")
    return float(time), request_id
