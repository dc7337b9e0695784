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
        ("plain", "plain"),
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


async def test_the_header_is_there_even_without_rows() -> None:
    async def batches(count: int) -> AsyncIterator[list[list[int]]]:
        for number in range(count):
            yield [[number]]

    assert b"".join([piece async for piece in stream(["n"], batches(0))]) == b"n\r\n"
    assert b"".join([piece async for piece in stream(["n"], batches(2))]) == b"n\r\n0\r\n1\r\n"
