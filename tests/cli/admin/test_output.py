from __future__ import annotations

import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.cli.admin.output import Column, ListDocument, document, facts, table, terminal_width
from sidecar.cli.admin.text import width

COLUMNS = (Column("name", shrinks=True), Column("id"), Column("requests", "right"))


@given(st.lists(st.tuples(st.text(), st.text(max_size=12), st.integers(0, 10**6).map(str))), st.integers(48, 120))
def test_a_table_fits_the_terminal(rows: list[tuple[str, str, str]], total: int) -> None:
    lines = table(COLUMNS, rows, total)
    assert len(lines) == len(rows) + 1
    assert all(width(line) <= total for line in lines)


def test_without_a_terminal_nothing_is_cut() -> None:
    assert table(COLUMNS, [("x" * 300, "k", "1")], None)[1].startswith("x" * 300)


def test_columns_line_up() -> None:
    assert table(COLUMNS, [("shop", "k1", "7"), ("kasse 日本", "k2", "12")], 60) == [
        "NAME        ID  REQUESTS",
        "shop        k1         7",
        "kasse 日本  k2        12",
    ]


def test_facts_line_up() -> None:
    assert facts([("Name", "shop"), ("Last used", "never")]) == ["Name       shop", "Last used  never"]


@given(st.lists(st.dictionaries(st.text(), st.integers() | st.none())))
def test_a_list_document_is_one_document(items: list[dict[str, int | None]]) -> None:
    out = io.StringIO()
    document = ListDocument(out)
    for item in items:
        document.add(item)
    document.close(next_cursor=None)
    assert json.loads(out.getvalue()) == {"data": items, "next_cursor": None}


def test_a_list_document_that_never_began_leaves_nothing_behind() -> None:
    """A refused call ends the command between the two: standard output must not hold half a document."""
    out = io.StringIO()
    ListDocument(out)
    assert out.getvalue() == ""


@given(st.text())
def test_json_says_what_it_is_given_and_drives_no_terminal(value: str) -> None:
    text = document({"name": value})
    assert json.loads(text) == {"name": value}
    assert not {"Cc", "Cs", "Zl", "Zp"} & set(map(unicodedata.category, text.replace("\n", "")))


def test_what_is_readable_stays_readable_in_json() -> None:
    assert document("Größe …1c96 日本") == '"Größe …1c96 日本"'
    assert document("\x9b31m\u202e\u2028\ud800") == r'"\u009b31m\u202e\u2028\ud800"'


@pytest.mark.parametrize("columns", ["abc", "", "0", "-5"])
def test_a_width_that_is_no_number_is_passed_over(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", columns)
    width = terminal_width(Terminal())
    assert width is not None and width > 0
