"""What goes to standard output: one JSON document, or text and tables that fit the terminal."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TextIO

from sidecar.cli.admin.text import printable, shorten, width

_GAP = 2
# Control characters beyond those that JSON escapes by itself, line separators, marks of direction, halves of characters.
_UNSEEN = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; one that `shrinks` gives way when the table is wider than the terminal."""

    title: str
    align: Literal["left", "right"] = "left"
    shrinks: bool = False


def terminal_width(stream: TextIO) -> int | None:
    """Columns of the terminal behind `stream`; None when there is none and nothing has to fit."""
    if not stream.isatty():
        return None
    return shutil.get_terminal_size((100, 24)).columns


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]], total: int | None) -> list[str]:
    """The lines of a table at most `total` columns wide (None: as wide as it wants), headings first."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max([width(column.title), *(width(row[place]) for row in cells)]) for place, column in enumerate(columns)]
    if total is not None:
        _squeeze(columns, widths, total)
    return [_line([column.title.upper() for column in columns], columns, widths), *(_line(row, columns, widths) for row in cells)]


def facts(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Lines of `name  value`, the values aligned."""
    kept = [(name, printable(value)) for name, value in pairs]
    indent = max((len(name) for name, _ in kept), default=0) + _GAP
    return [f"{name:<{indent}}{value}" for name, value in kept]


def document(value: Any) -> str:
    """`value` as the JSON document that --json prints."""
    return encoded(value, indent=2)


def encoded(value: Any, indent: int | None = None) -> str:
    """`value` as JSON that no terminal obeys: what cannot be seen stands there as an escape, which says the same."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, indent=indent, ensure_ascii=False))


class ListDocument:
    """A JSON document `{"data": […]}` written item by item, so that a long list never lies in memory whole.

    Nothing is written before the first item is known or the list has ended: a call that is refused at once leaves no
    half a document behind.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._empty = True

    def add(self, item: Any) -> None:
        """Write one item."""
        self._out.write('{"data":[\n' if self._empty else ",\n")
        self._out.write(encoded(item))
        self._empty = False

    def close(self, **members: Any) -> None:
        """End the list and write the document's other members."""
        rest = "".join(f",{json.dumps(name)}:{encoded(value)}" for name, value in members.items())
        begun = '{"data":[' if self._empty else ""
        self._out.write(f"{begun}\n]{rest}}}\n")


def _squeeze(columns: Sequence[Column], widths: list[int], total: int) -> None:
    """Take from the widest column that may shrink until the table fits or none can give more."""
    while sum(widths) + _GAP * (len(widths) - 1) > total:
        places = [place for place, column in enumerate(columns) if column.shrinks and widths[place] > max(8, width(column.title))]
        if not places:
            return
        widths[max(places, key=lambda place: widths[place])] -= 1


def _line(row: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    parts = []
    for cell, column, room in zip(row, columns, widths, strict=True):
        text = shorten(cell, room)
        padding = " " * (room - width(text))
        parts.append(padding + text if column.align == "right" else text + padding)
    return (" " * _GAP).join(parts).rstrip()
