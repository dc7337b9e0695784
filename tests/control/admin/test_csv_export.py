"""CSV that a spreadsheet opens without running anything."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.admin.csv_export import cell, lines, stream


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "'+1"),
        ("-cmd", "'-cmd"),
        ("@SUM", "'@SUM"),
        ("\tx", "'\tx"),
        ("\r\n=1", "'\r\n'=1"),
        (" =1", "' =1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("x;\uff0b1;\uff0d1;\uff20SUM", "x;'\uff0b1;'\uff0d1;'\uff20SUM"),
        ("\0=1", "'\0=1"),
        ("\0x", "'\0x"),
        ("curl/8;=HYPERLINK(1)", "curl/8;'=HYPERLINK(1)"),
        ("x\t=1+1\n@SUM| -1", "x\t'=1+1\n'@SUM|' -1"),
        ('x;"=1"', 'x;\'"=1"'),
        ("plain", "plain"),
        ("a=1; b=2 | c@d\te-f", "a=1; b=2 | c@d\te-f"),
        ("python/3 (x; y) +http", "python/3 (x; y) +http"),
        ("", ""),
        (-5, -5),
        (1.5, 1.5),
        (True, "true"),
        (None, ""),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
    ],
)
def test_cells(value: object, written: object) -> None:
    assert cell(value) == written


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2)))
def test_reads_back_and_never_begins_a_formula(rows: list[list[str]]) -> None:
    read = list(csv.reader(io.StringIO(lines(rows).decode(), newline="")))
    assert read == [[str(cell(value)) for value in row] for row in rows]
    assert not any(value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for row in read for value in row)


@given(st.lists(st.lists(st.text(alphabet='=+-@;,\t|\r\n" a1'), min_size=1, max_size=3), min_size=1, max_size=3), st.sampled_from(",;\t|"))
def test_whatever_the_separator_is_taken_for_nothing_begins_a_formula(rows: list[list[str]], separator: str) -> None:
    read = csv.reader(io.StringIO(lines(rows).decode(), newline=""), delimiter=separator)
    assert not any(value.strip(' "\t\r\n').startswith(("=", "+", "-", "@")) for row in read for value in row)


async def test_the_header_is_there_even_without_rows() -> None:
    async def batches(count: int) -> AsyncIterator[list[list[int]]]:
        for number in range(count):
            yield [[number]]

    assert b"".join([piece async for piece in stream(["n"], batches(0))]) == b"n\r\n"
    assert b"".join([piece async for piece in stream(["n"], batches(2))]) == b"n\r\n0\r\n1\r\n"
