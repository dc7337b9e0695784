"""W3C trace context: passed on when valid, begun when not."""

from __future__ import annotations

import pytest

from sidecar.worker.tracing import span_of

TRACE, PARENT = "a" * 32, "b" * 16


def test_a_valid_trace_goes_on_with_a_span_of_ours() -> None:
    span = span_of([f"00-{TRACE}-{PARENT}-00".encode()])
    assert span.goes_on and (span.trace_id, span.traceparent[-2:]) == (TRACE, "00") and span.span_id != PARENT and len(span.span_id) == 16
    assert span.traceparent == f"00-{TRACE}-{span.span_id}-00"


@pytest.mark.parametrize(
    "bad",
    [None, b"", b"00", f"ff-{TRACE}-{PARENT}-01".encode(), f"00-{'0' * 32}-{PARENT}-01".encode(), f"00-{TRACE}-{'0' * 16}-01".encode(), f"00-{TRACE.upper()}-{PARENT}-01".encode()],
)  # fmt: skip
def test_anything_else_begins_anew(bad: bytes | None) -> None:
    _begins_anew([] if bad is None else [bad])


def test_two_parents_are_none() -> None:
    _begins_anew([f"00-{TRACE}-{PARENT}-00".encode()] * 2)


def test_a_later_version_may_say_more() -> None:
    assert span_of([f"01-{TRACE}-{PARENT}-01-more".encode()]).goes_on
    _begins_anew([f"00-{TRACE}-{PARENT}-01-more".encode()])


def _begins_anew(parents: list[bytes]) -> None:
    span = span_of(parents)
    assert not span.goes_on and span.trace_id != TRACE and len(span.trace_id) == 32 and span.traceparent[-2:] == "01"
    assert span_of(parents).trace_id != span.trace_id
