from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.usage.call_cursor import LAST_ID, read_cursor, write_cursor


@given(st.floats(0, 1e10), st.text(st.characters(codec="ascii", exclude_characters=" "), max_size=64) | st.just(LAST_ID))
def test_a_place_comes_back(time: float, request_id: str) -> None:
    cursor = write_cursor(time, request_id)
    assert read_cursor(cursor) == (time, request_id)
    assert cursor.isascii() and set(cursor) <= {*"-_", *map(chr, range(48, 58)), *map(chr, range(65, 91)), *map(chr, range(97, 123))}


@pytest.mark.parametrize("cursor", ["x", "!!", "Zm9v", "é", "eCB5", "bmFuIHg", "aW5mIHg"])
def test_what_was_not_made_here_is_refused(cursor: str) -> None:
    with pytest.raises(ValueError, match=r"cursor|float"):
        read_cursor(cursor)
