"""Which form an answer has."""

from __future__ import annotations

import pytest

from sidecar.control.admin.rendering import negotiate

CSV = "text/csv"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ([], None),
        ([""], None),
        (["*/*"], None),
        (["text/html"], None),
        (["application/json"], None),
        ([CSV], CSV),
        (["TEXT/CSV; charset=utf-8"], CSV),
        (["text/csv, */*"], CSV),
        (["text/csv, application/json"], CSV),
        (["application/json, text/csv"], None),
        (["application/json", CSV], None),
        ([CSV, "application/json"], CSV),
        (["application/x-ndjson, text/csv;q=0.5"], CSV),
        (["text/csv;q=0"], None),
        (["text/csv;q=0, application/json"], None),
        (["text/csv;q=0, application/json;q=0"], None),
        (["text/csv;q=0.1, application/json;q=0.9"], None),
        (["application/json;q=0.1, text/csv;q=0.9"], CSV),
        (["text/csv;q=0.1, application/*;q=0.9"], None),
        (["text/csv;q=0.1, */*;q=0.9"], None),
        (["text/csv;q=0.9, */*;q=0.1"], CSV),
        (["text/csv;q=0.5, application/json;q=0.1, */*"], CSV),
    ],
)
def test_another_form_than_json_is_for_those_who_do_not_want_json_more(accept: list[str], wanted: str | None) -> None:
    assert negotiate(accept, (CSV,)) == wanted


def test_what_is_not_offered_is_not_given() -> None:
    assert negotiate([CSV], ()) is None
    assert negotiate([CSV], ("application/x-ndjson",)) is None
