"""Results have a place in the documentation, and nothing else there changes."""

from __future__ import annotations

import pytest

from benchmarks import publish


def test_only_what_is_between_the_marks_is_replaced() -> None:
    page = f"before\n{publish.BEGIN}\nold\n{publish.END}\nafter\n"
    once = publish.replaced(page, "new")
    assert once.startswith("before\n") and once.endswith("\nafter\n") and "new" in once and "old" not in once
    assert publish.replaced(once, "new") == once


def test_a_page_without_marks_is_left_alone() -> None:
    with pytest.raises(ValueError, match="no place"):
        publish.replaced("nothing here", "new")


def test_the_page_has_a_place() -> None:
    assert publish.replaced(publish.PAGE.read_text(encoding="utf-8"), "")
