"""Rows as CSV (RFC 4180) that is safe to open in a spreadsheet. Pure.

A cell that begins like a formula is run by spreadsheets when the file is opened, and key names,
owners, models and user agents are other people's text; such a cell is led by an apostrophe. Where the
comma is the decimal mark, spreadsheets take `;` for the separator, and others look for tabs: then a cell
begins behind each of these, and quotes are where the writer never meant them. So whatever could begin one
is treated alike (OWASP, "CSV Injection").
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any

_FORMULA = re.compile(r"""(^|[;\t|\r\n])(?=[ "\0]*[=+\-@\uff1d\uff0b\uff0d\uff20])""")
"""In Japanese and Chinese, the wide forms of these begin a formula as well."""
_TRIMMED = ("\t", "\r", "\n", "\0")
"""Some drop these from the start of a cell, and then look for a formula."""


def cell(value: Any) -> str | int | float:
    """One cell; numbers stay numbers, times are RFC 3339, None is empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return value
    text = value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)
    text = _FORMULA.sub(r"\1'", text)
    return f"'{text}" if text.startswith(_TRIMMED) else text


def lines(rows: Iterable[Sequence[Any]]) -> bytes:
    """`rows` as CSV."""
    buffer = io.StringIO()
    csv.writer(buffer).writerows([cell(value) for value in row] for row in rows)
    return buffer.getvalue().encode()


async def stream(header: Sequence[str], batches: AsyncIterator[Iterable[Sequence[Any]]]) -> AsyncIterator[bytes]:
    """A whole document out of batches of rows; the header comes with the first batch."""
    head = lines([header])
    async for batch in batches:
        yield head + lines(batch)
        head = b""
    if head:
        yield head
