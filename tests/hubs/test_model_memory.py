"""Bodies that are written to cost as much as they can: what is kept of them while their model is looked for."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from sidecar.hubs.form_places import MAX_HEADS, MAX_MARKS
from sidecar.hubs.load import load_profile
from sidecar.hubs.model import strip_prefix

SIZE = 8 << 20
MOST = 64 << 20
"""Bytes that may be kept beside a body of SIZE."""
JSON, FORM, MULTIPART = "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"
MODELS = {route.name: route.model for route in load_profile("aigne").routes}
NAMED = b'"model":"aignehub/a"}'


def many(unit: bytes, size: int = SIZE) -> bytes:
    return unit * (size // len(unit))


def chat(content: bytes) -> bytes:
    return b'{"messages":[{"content":"\\u0041' + content + b'"}],' + NAMED


def part(head: bytes) -> bytes:
    return b"--b\r\n" + head + b"\r\n\r\naignehub/a\r\n--b--\r\n"


def disposition(rest: bytes) -> bytes:
    return b"Content-Disposition: form-data" + rest


def peak(route: str, content_type: str, body: bytes, expected: bytes | None = None) -> int:
    """The bytes that were kept at most while the prefix was cut off, which makes `expected` of the body."""
    tracemalloc.start()
    try:
        stripped = strip_prefix(MODELS[route], content_type, body, "aignehub/")
        kept = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Not told apart by pytest, which takes a minute for so much text.
    is_right = expected is None or stripped == expected
    assert is_right
    return kept


@pytest.mark.parametrize("content_type", [JSON, FORM])
@pytest.mark.parametrize(
    "body",
    [
        chat(many(b"\\n")),
        chat(many(b'\\"')),
        chat(many(b"hello\\n")),
        chat(many(b"\\n")).replace(b"[", b'["x",'),
        chat(b"aa" + many(b"a") + "\u00e9\U0001f600".encode()),
        json.dumps({"messages": [{"content": "\u041f\u0440\u0438\u0432\u0435\u0442 " * (SIZE // 37)}], "model": "aignehub/a"}).encode(),
        b'{"' + many(b"\\u0416") + b'":1,' + NAMED,
        b'{"' + many(b"a") + "\u00e9\U0001f600".encode() + b'":"\\u0041",' + NAMED,
    ],
    ids=["escapes", "quotes", "text", "in a list", "one letter that needs four bytes", "not ASCII", "a name", "a name that is not ASCII"],
)
def test_what_is_kept_of_a_long_json_body(body: bytes, content_type: str) -> None:
    kept = peak("chat", content_type, body, body.replace(b"aignehub/", b""))
    assert kept < MOST


LONG_NAMES = {
    "escapes": b"aignehub" + many(b"%41"),
    "no escapes": b"aignehub" + many(b"%"),
    "brackets": b"aignehub" + many(b"["),
    "letters": b"aignehub" + many(b"a"),
    "not ASCII": b"aignehub" + many(b"a") + b"%F0%9F%98%80",
    "blanks": b"aignehub" + many(b" ") + b"x",
    "most escapes": b"aignehub" + b"%41" * (MAX_MARKS - 100),
}


@pytest.mark.parametrize("name", LONG_NAMES.values(), ids=LONG_NAMES)
def test_what_is_kept_of_a_long_name_in_a_form(name: bytes) -> None:
    kept = peak("audio-transcriptions", FORM, b"prompt=a&" + name + b"=1&model=b")
    assert kept < MOST


@pytest.mark.parametrize("name", LONG_NAMES.values(), ids=LONG_NAMES)
def test_what_is_kept_of_json_that_is_labelled_a_form(name: bytes) -> None:
    kept = peak("chat", FORM, b'{"a":"\\u0041&' + name + b'",' + NAMED)
    assert kept < MOST


def test_the_parts_of_a_name_are_not_gathered() -> None:
    body = b"aignehub" + b"[aa" * 100_000
    kept = peak("audio-transcriptions", FORM, body)
    assert kept < 8 * len(body)


@pytest.mark.parametrize("value", [many(b"%41"), b"%41" * MAX_MARKS, many(b"a")], ids=["escapes", "most escapes", "letters"])
@pytest.mark.parametrize("name", [b"model", b"prompt"])
def test_what_is_kept_of_a_long_value_in_a_form(name: bytes, value: bytes) -> None:
    kept = peak("audio-transcriptions", FORM, b"aignehub=1&" + name + b"=" + value)
    assert kept < MOST


@pytest.mark.parametrize("size", [SIZE, MAX_HEADS - 200], ids=["long", "as long as may be"])
@pytest.mark.parametrize(
    ("unit", "before", "behind"),
    [
        (rb"\a", disposition(b'; name="'), b'"'),
        (b'; a=""', disposition(b""), b""),
        (b"; filename*=a''a", disposition(b""), b""),
        (b"a:\r\n", b"", disposition(b'; name="model"')),
    ],
    ids=["escapes", "parameters", "file names", "lines"],
)
def test_what_is_kept_of_a_long_head_in_a_multipart_form(unit: bytes, before: bytes, behind: bytes, size: int) -> None:
    kept = peak("audio-transcriptions", MULTIPART, part(before + many(unit, size) + behind))
    assert kept < MOST
