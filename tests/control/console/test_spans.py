"""Spans: buckets are whole, the last one runs now, nonsense is the usual span."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.console.spans import DAY, DEFAULT, HOUR, MINUTE, RANGES, Span, chosen

NOW = 1_790_000_000.0
KEPT = 14.0 * DAY
MOST_BUCKETS = 1 + 4e9 / (70 * DAY)
"""A page draws six charts of so many, each with a table: more would hold up whatever else the process serves."""
times = st.floats(1e9, 4e9)


@given(times, st.sampled_from([code for code, _ in RANGES]))
def test_fixed_ranges(now: float, code: str) -> None:
    span = chosen({"range": code}, now, KEPT)
    assert span.code == code
    _well_formed(span, now)
    assert span.times[-1] <= now <= span.end < now + MINUTE


@given(times, times, times)
def test_any_span(now: float, first: float, last: float) -> None:
    span = chosen({"from": f"{_text(first)}", "to": f"{_text(last)}"}, now, KEPT)
    _well_formed(span, now)


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ({"from": "2026-09-21T10:00", "to": "2026-09-21T09:00"}, True),
        ({"from": "2026-09-21T10:00", "to": "2026-09-21T10:00"}, True),
        ({"from": "soon"}, True),
        ({"to": "2026-09-21T09:00"}, True),
        ({"from": "2099-01-01T00:00"}, True),
        ({"from": "2026-09-21T08:00", "to": "2026-09-21T09:00"}, False),
        ({"from": "2026-09-21T08:00"}, False),
        ({"from": "2026-09-21T08:00", "to": ""}, False),
        ({"from": "2026-09-21T08:00", "to": "garbage"}, True),
        ({"from": "garbage", "to": "2026-09-21T09:00"}, True),
        ({"range": "7d"}, False),
        ({"range": "soon"}, False),
        ({}, False),
    ],
)
def test_what_is_no_span_says_so(query: dict[str, str], wrong: bool) -> None:
    span = chosen(query, NOW, KEPT)
    assert bool(span.fault) == wrong
    assert not wrong or span.code == DEFAULT


def _text(time: float) -> str:
    return Span("", "", time, time, 1).form_start


def _well_formed(span: Span, now: float) -> None:
    assert span.start % span.step == 0 and span.start < span.end
    assert span.end % MINUTE == 0
    assert 1 <= len(span.times) <= MOST_BUCKETS
    first, last = span.before
    assert last == span.start and last - first == span.end - span.start


@pytest.mark.parametrize("query", [{}, {"range": "x"}, {"from": "x"}, {"from": "2030-01-01T00:00"}, {"to": "2026-01-01T00:00"},
                                   {"from": "2026-01-02T00:00", "to": "2026-01-01T00:00"}])  # fmt: skip
def test_nonsense(query: dict[str, str]) -> None:
    assert chosen(query, NOW, KEPT).code == DEFAULT


@pytest.mark.parametrize("kept", [6 * HOUR, DAY, 14 * DAY])
def test_minutes_are_only_shown_while_they_are_kept(kept: float) -> None:
    """They go a whole hour at a time; of that hour only its sum is left, which is no minute's."""
    lately = {"from": _text(NOW - HOUR), "to": _text(NOW)}
    assert chosen(lately, NOW, kept).step == MINUTE
    assert chosen(lately, NOW + kept - 2 * HOUR - MINUTE, kept).step == MINUTE
    assert chosen(lately, NOW + kept - 2 * HOUR + MINUTE, kept).step == HOUR
    assert chosen(lately, NOW + 2 * kept, kept).step == HOUR


def test_a_form_gets_what_it_can_send_back() -> None:
    span = chosen({"from": "2026-01-31T13:05", "to": "2026-01-31T14:00"}, NOW, KEPT)
    assert (span.form_start, span.form_end) == ("2026-01-31T13:00", "2026-01-31T14:00")


@pytest.mark.parametrize("first", ["0001-01-01T00:00", "1969-12-31T23:59", "0001-01-01T00:00+14:00"])
def test_a_span_from_before_all_time_begins_with_it(first: str) -> None:
    span = chosen({"from": first, "to": "2026-01-31T00:00"}, NOW, KEPT)
    assert (span.code, span.form_start) == ("custom", "1970-01-01T00:00")
    assert chosen({"from": first, "to": "0001-01-02T00:00"}, NOW, KEPT).code == DEFAULT


@pytest.mark.parametrize(
    ("first", "last"), [("2026-01-31T13:00", "2026-01-30T13:00"), ("2999-01-01T00:00", ""), ("", "2026-01-30T13:00"), ("soon", "later")]
)
def test_a_span_that_is_none_comes_back_as_it_was_typed(first: str, last: str) -> None:
    span = chosen({"from": first, "to": last}, NOW, KEPT)
    assert span.fault and (span.form_start, span.form_end) == (first, last)
