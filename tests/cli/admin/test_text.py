from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.cli.admin import text

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


@given(st.text(), st.integers(0, 30))
def test_shortened_text_fits(value: str, columns: int) -> None:
    cut = text.shorten(value, columns)
    assert text.width(cut) <= columns
    if text.width(value) <= columns:
        assert cut == value


@pytest.mark.parametrize(
    ("value", "columns"),
    [("shop", 4), ("日本", 4), ("e\u0301", 1), ("\u0e17\u0e35\u0e48", 1), ("\u0939\u093f\u0928\u094d\u0926\u0940", 5), ("\u2764\ufe0f", 1)],
    ids=["latin", "wide", "accent", "thai", "hindi", "variant"],
)
def test_width_is_that_of_a_terminal(value: str, columns: int) -> None:
    assert text.width(value) == columns


def test_a_long_text_is_shortened_in_no_time() -> None:
    """A change in the audit log may be a list of 256 names of 256 characters."""
    began = time.process_time()
    assert text.shorten("x" * 70_000, 32) == "x" * 31 + "…"
    assert time.process_time() - began < 1


@given(st.text())
def test_nothing_printed_can_drive_a_terminal(value: str) -> None:
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text.printable(value))


def test_escapes_and_overrides_are_replaced() -> None:
    assert text.printable("a\x1b[31mb\u202ec\nd") == "a\ufffd[31mb\ufffdc\ufffdd"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "now"), (-5, "5 s ago"), (59, "in 59 s"), (-180, "3 min ago"), (7200, "in 2 h"), (-86400 * 3, "3 d ago"), (86400 * 800, "in 2 y")],
)
def test_relative(seconds: int, said: str) -> None:
    assert text.relative((NOW + timedelta(seconds=seconds)).isoformat(), NOW) == said


def test_relative_of_nothing() -> None:
    assert text.relative(None, NOW) == "never"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (950, "950"),
        (12_300, "12.3k"),
        (4_100_000, "4.1M"),
        (123_456_789, "123M"),
        (0.5, "0.5"),
        (0.052, "0.052"),
        (4e-9, "<0.001"),
    ],
)
def test_brief(value: float, said: str) -> None:
    assert text.brief(value) == said


@pytest.mark.parametrize(("number", "said"), [(0, "0 keys"), (1, "1 key"), (1200, "1,200 keys")])
def test_amount(number: int, said: str) -> None:
    assert text.amount(number, "key") == said


@pytest.mark.parametrize(("value", "said"), [(None, "-"), (1234, "1,234"), (12.346, "12.35"), (0.052, "0.052")])
def test_count(value: float | None, said: str) -> None:
    assert text.count(value) == said


@given(st.floats(0, 1e14))
def test_brief_is_brief(value: float) -> None:
    assert len(text.brief(value)) <= 6


@pytest.mark.parametrize(
    ("typed", "past", "meant"),
    [
        ("24h", True, "2026-11-23T12:00:00+00:00"),
        ("90d", False, "2027-02-22T12:00:00+00:00"),
        ("2026-01-31", True, "2026-01-31T00:00:00+00:00"),
        ("2026-01-31T12:00:00Z", True, "2026-01-31T12:00:00+00:00"),
        ("2026-01-31T12:00:00+02:00", False, "2026-01-31T12:00:00+02:00"),
    ],
)
def test_moments(typed: str, past: bool, meant: str) -> None:
    assert text.read_moment(typed, NOW, past=past) == meant


@pytest.mark.parametrize("typed", ["", "yesterday", "5", "5 weeks", "2026-13-01", "9999999d", "9" * 20 + "d"])
def test_a_wrong_moment_says_what_to_write(typed: str) -> None:
    with pytest.raises(ValueError, match="write a duration"):
        text.read_moment(typed, NOW, past=True)
