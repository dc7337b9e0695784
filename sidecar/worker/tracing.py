"""W3C Trace Context: the caller's trace goes on, or a new one begins. Pure but for randomness."""

from __future__ import annotations

import random
import re
from typing import NamedTuple

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_source = random.Random()


class Span(NamedTuple):
    """This hop in a trace; ids in lower-case hexadecimal."""

    trace_id: str
    span_id: str
    flags: str

    @property
    def traceparent(self) -> str:
        """The header value for the next hop (Trace Context 3.2)."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def span_of(traceparent: bytes | None) -> Span:
    """A new span in the caller's trace, or in a new trace when the caller's header is absent or invalid."""
    span_id = f"{_source.getrandbits(64) or 1:016x}"
    if traceparent is not None:
        match = _TRACEPARENT.fullmatch(traceparent)
        # All-zero ids and version ff are invalid (Trace Context 3.2.2): start anew.
        if match and match[1] != b"ff" and match[2].strip(b"0") and match[3].strip(b"0"):
            return Span(match[2].decode(), span_id, match[4].decode())
    return Span(f"{_source.getrandbits(128) or 1:032x}", span_id, "01")
