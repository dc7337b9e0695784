"""Numbers and times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.console import text

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "just now"), (4, "just now"), (59, "59 s ago"), (60, "1 min ago"), (7199, "1 h ago"), (86400 * 3, "3 d ago"),
     (86400 * 65, "65 d ago"), (86400 * 91.9, "91 d ago"), (86400 * 92, "3 mo ago"), (86400 * 364, "11 mo ago"), (86400 * 365, "1 y ago"),
     (86400 * 800, "2 y ago"), (-70, "in 1 min"), (-90, "in 2 min"), (-150, "in 3 min"), (-86400 + 22, "in 1 d"), (-86400, "in 1 d"), (-86400 * 33, "in 33 d"),
     (-86400 * 59, "in 59 d"), (-86400 * 90 + 1, "in 90 d"), (-86400 * 364, "in 1 y"), (-59.6, "in 1 min")],
)  # fmt: skip
def test_relative(seconds: float, shown: str) -> None:
    assert text.relative(NOW - timedelta(seconds=seconds), NOW) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0"), (7, "7"), (950, "950"), (999.6, "1k"), (1200, "1.2k"), (34_000_000, "34M"), (99_960, "100k"), (0.052, "0.052"), (1.5, "1.5"),
     (12.4, "12"), (2e9, "2G"), (3.2e12, "3.2T")],
)  # fmt: skip
def test_compact(number: float, shown: str) -> None:
    assert text.compact(number) == shown


@given(st.floats(0, 1e15))
def test_compact_is_short(number: float) -> None:
    assert len(text.compact(number)) <= 8


@pytest.mark.parametrize(
    ("amount", "shown"),
    [(0, "0"), (2e-05, "<0.001"), (0.001, "0.001"), (0.0126, "0.013"), (0.25, "0.25"), (9.9999, "10"), (12.44, "12.4"), (20, "20"),
     (999.96, "1k"), (1234, "1.2k")],
)  # fmt: skip
def test_credits(amount: float, shown: str) -> None:
    assert text.credits(amount) == shown


@given(st.floats(0, 1e15))
def test_credits_have_no_exponent(amount: float) -> None:
    assert "e" not in text.credits(amount) and len(text.credits(amount)) <= 8


@pytest.mark.parametrize(
    ("part", "of", "shown"),
    [(0, 0, "0%"), (0, 10, "0%"), (10, 10, "100%"), (1, 3, "33.3%"), (1, 100_000, "<0.1%"), (99_999, 100_000, ">99.9%")],
)
def test_share(part: float, of: float, shown: str) -> None:
    assert text.share(part, of) == shown


@pytest.mark.parametrize(
    ("now", "before", "shown"), [(5, 0, ""), (5, 5, "±0%"), (6, 5, "+20%"), (3, 6, "−50%"), (0, 6, "−100%"), (140, 10, "×14")]
)
def test_change(now: float, before: float, shown: str) -> None:
    assert text.change(now, before) == shown


def test_units() -> None:
    assert [text.size(count) for count in (0, 1023, 1024, 15 << 10, 3 << 20, 1 << 40)] == [
        "0 B", "1023 B", "1.0 KiB", "15 KiB", "3.0 MiB", "1.0 TiB",
    ]  # fmt: skip
    assert [text.milliseconds(value) for value in (0, 0.84, 1, 12.4, 999, 3200)] == ["<1 ms", "<1 ms", "1 ms", "12 ms", "999 ms", "3.2 s"]
    assert text.whole(1234567) == "1\u202f234\u202f567"
    assert text.absolute(NOW) == "2026-01-31 12:00:00 UTC"
