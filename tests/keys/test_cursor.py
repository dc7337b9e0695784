"""Cursors of the lists of keys: what was written is read again, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.keys.cursor import place_in, text_of

PLACES = st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.text())


@given(PLACES)
def test_what_was_written_is_read_again(place: tuple[float, str]) -> None:
    text = text_of(place)
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert place_in(text, tuple[float, str]) == place


@given(PLACES, st.integers(1, 3))
def test_one_that_was_cut_is_refused(place: tuple[float, str], cut: int) -> None:
    with pytest.raises(ValueError, match="begin again without one"):
        place_in(text_of(place)[:-cut], tuple[float, str])


@pytest.mark.parametrize("text", ["", "x", "é", "====", text_of(("name", 1.0, "key_1")), text_of([1.0]), text_of({"a": 1})])
def test_what_is_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="begin again without one"):
        place_in(text, tuple[float, str])
