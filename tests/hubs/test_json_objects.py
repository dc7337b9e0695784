"""What a request body must be before anything is looked for in it."""

from __future__ import annotations

import msgspec
import pytest

from sidecar.hubs import json_objects
from sidecar.hubs.json_objects import readable
from sidecar.refusals import Refused

HALF = b"\\ud83d"


@pytest.mark.parametrize("body", [b"{}", b' \r\n\t{"a": "\xc3\xa9"} ', b'{"a": "\\ud83d\\ude00"}'])
def test_an_object_stays_as_it_is(body: bytes) -> None:
    assert readable(body) is body


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"a": "\xff"}', "not JSON in UTF-8"),
        (b'{"a": NaN}', "not JSON in UTF-8"),
        (b'{"a": "' + HALF + b'"', "not JSON in UTF-8"),
        (b'{"a": "\\ud8"}', "not JSON in UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "must be a JSON object"),
        (b'"' + HALF + b'"', "must be a JSON object"),
    ],
)
def test_anything_else_is_refused(body: bytes, told: str) -> None:
    with pytest.raises(Refused) as raised:
        readable(body)
    assert told in raised.value.detail


@pytest.mark.parametrize("half", [b"\\ud83d", b"\\uDBFF", b"\\udc00", b"\\uDfFf", b"\\ude00\\ud83d", b"\\\\\\ud83d"])
def test_half_of_a_pair_is_written_anew_in_its_place(half: bytes) -> None:
    body = b'{"a": "' + half + b'", "model": "m"}'
    made = readable(body)
    assert len(made) == len(body) and made.index(b'"model"') == body.index(b'"model"')
    assert msgspec.json.decode(made)["model"] == "m"


def test_what_looks_like_half_of_a_pair_behind_a_backslash_is_read_too() -> None:
    """`\\\\ud83d` is a backslash and five letters, and the half behind it is still one."""
    assert len(msgspec.json.decode(readable(b'{"a": "\\\\ud83d\\ude00"}'))["a"]) == 7


def test_not_without_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_objects, "MAX_SURROGATES", 2)
    assert readable(b'{"a": "' + HALF * 2 + b'"}')
    with pytest.raises(Refused):
        readable(b'{"a": "' + HALF * 3 + b'"}')
