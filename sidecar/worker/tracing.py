"""W3C Trace Context: the caller's trace goes on, or a new one begins. Pure but for randomness."""

from __future__ import annotations

import random
import re

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_source = random.Random()
_NO_SPAN = "0" * 16
_NO_TRACE = "0" * 32


class Span:
    """This hop in a trace; ids in lower-case hexadecimal."""

    __slots__ = ("span_id", "trace_id", "traceparent")

    def __init__(self, trace_id: str, span_id: str, flags: str) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.traceparent = f"00-{trace_id}-{span_id}-{flags}"
        """The header value for the next hop (Trace Context 3.2)."""


def span_of(traceparent: bytes | None) -> Span:
    """A new span in the caller's trace, or in a new trace when the caller's header is absent or invalid."""
    ids = _source.getrandbits(192).to_bytes(24, "big").hex()
    # All-zero ids are invalid (Trace Context 3.2.2.3); one in 2^64 may be tried again.
    span_id = ids[:16] if ids[:16] != _NO_SPAN else "0000000000000001"
    if traceparent is not None:
        match = _TRACEPARENT.fullmatch(traceparent)
        # All-zero ids and version ff are invalid (Trace Context 3.2.2): start anew.
        if match and match[1] != b"ff" and match[2].strip(b"0") and match[3].strip(b"0"):
            return Span(match[2].decode(), span_id, match[4].decode())
    return Span(ids[16:] if ids[16:] != _NO_TRACE else "00000000000000000000000000000001", span_id, "01")
