"""W3C Trace Context: the caller's trace goes on, or a new one begins. Pure but for randomness."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_source = random.Random()
_NO_SPAN = "0" * 16
_NO_TRACE = "0" * 32


class Span:
    """This hop in a trace; ids in lower-case hexadecimal."""

    __slots__ = ("goes_on", "span_id", "trace_id", "traceparent")

    def __init__(self, trace_id: str, span_id: str, flags: str, *, goes_on: bool) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.goes_on = goes_on
        """Whether the trace is the caller's. With a new one the caller's tracestate must not go on (Trace Context 3.3)."""
        self.traceparent = f"00-{trace_id}-{span_id}-{flags}"
        """The header value for the next hop (Trace Context 3.2)."""


def span_of(traceparents: Sequence[bytes]) -> Span:
    """A new span in the caller's trace, or in a new trace when the caller's header is absent, there twice, or invalid."""
    ids = _source.getrandbits(192).to_bytes(24, "big").hex()
    # All-zero ids are invalid (Trace Context 3.2.2.3); one in 2^64 may be tried again.
    span_id = ids[:16] if ids[:16] != _NO_SPAN else "0000000000000001"
    if len(traceparents) == 1:
        match = _TRACEPARENT.fullmatch(traceparents[0])
        if match is not None and _is_valid(match):
            return Span(match[2].decode(), span_id, match[4].decode(), goes_on=True)
    return Span(ids[16:] if ids[16:] != _NO_TRACE else "00000000000000000000000000000001", span_id, "01", goes_on=False)


def _is_valid(match: re.Match[bytes]) -> bool:
    """Version ff and all-zero ids are invalid (Trace Context 3.2.2); only versions after 00 may have more fields."""
    version, trace_id, parent_id, _, more = match.groups()
    return bool(version != b"ff" and trace_id.strip(b"0") and parent_id.strip(b"0") and (more is None or version != b"00"))
