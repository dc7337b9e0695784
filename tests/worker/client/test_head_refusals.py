"""Heads that are refused, at their exact bounds, and where a head ends. The same over sockets stands in tests/wire."""

from __future__ import annotations

import pytest

from sidecar.refusals import Refused
from sidecar.settings.declaration import Bounds
from sidecar.worker.client.head import METHODS, HeadReader

BOUNDS = Bounds(target=100, headers=300, header_count=5, body=1000)
START = b"GET / HTTP/1.1\r\nHost: a\r\n"
LONGEST = BOUNDS.target + BOUNDS.headers + 64
TARGET_LINE = BOUNDS.target + 64
"""Bytes in which a request line must end."""


def named(refused: Refused) -> str:
    """The code, or the status where several share one code."""
    refusal = refused.refusal
    return f"http_{refusal.status}" if refusal.code == "invalid_request" and refusal.status != 400 else refusal.code


def judged(head: bytes) -> str:
    """The code that a whole head is refused with; "" when it is read."""
    try:
        HeadReader(BOUNDS).parse(head)
    except Refused as refused:
        return named(refused)
    return ""


def sought(buffer: bytes, scanned: int = 0) -> int | str:
    """Where the head in `buffer` ends, or the code that it is refused with already."""
    try:
        return HeadReader(BOUNDS).find_end(bytearray(buffer), scanned)
    except Refused as refused:
        return named(refused)


def test_methods() -> None:
    assert {b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"} == METHODS


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_of_the_contract_is_read(method: str) -> None:
    assert judged(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode()) == ""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("GET / HTTP/1.1", ""),
        ("TRACE / HTTP/1.1", "method_not_allowed"),
        ("M-SEARCH / HTTP/1.1", "method_not_allowed"),
        ("Get / HTTP/1.1", "method_not_allowed"),
        ("get / HTTP/1.1", "invalid_request"),
        ("M-SEARCH  / HTTP/1.1", "invalid_request"),
        ("M(SEARCH / HTTP/1.1", "invalid_request"),
        ("GET / HTTP/2.0", "http_505"),
        ("GET / HTTP/1.2", "http_505"),
        ("GET / HTTP/1.11", "invalid_request"),
        ("GET  / HTTP/1.1", "invalid_request"),
        ("GET /" + "a" * 99 + " HTTP/1.1", ""),
        ("GET /" + "a" * 100 + " HTTP/1.1", "target_too_long"),
        ("x" * (BOUNDS.target + 32), "invalid_request"),
        ("x" * (BOUNDS.target + 33), "target_too_long"),
    ],
)
def test_request_lines(line: str, expected: str) -> None:
    assert judged(f"{line}\r\nHost: a\r\n\r\n".encode()) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("Host: a:65535", ""),
        ("Host: a:65536", "invalid_request"),
        ("Host: a b", "invalid_request"),
        ("Host: ", "invalid_request"),
        ("X: 1", "invalid_request"),
        ("Host: a\r\nX-\u00e9: 1", "invalid_request"),
        ("Host: a\r\nX : 1", "invalid_request"),
        ("Host: a\r\n folded", "invalid_request"),
        ("Host: a\r\nContent-Length: 1000", ""),
        ("Host: a\r\nContent-Length: 1001", "request_too_large"),
        ("Host: a\r\nContent-Length: +1", "invalid_request"),
        ("Host: a\r\nTransfer-Encoding: gzip", "invalid_request"),
        ("Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1", "invalid_request"),
        ("Host: a\r\nExpect: 200-ok", "http_417"),
        ("Host: a\r\nExpect: 100-continue\r\nExpect: 200-ok", "http_417"),
        ("Host: a" + "\r\nX: 1" * 4, ""),
        ("Host: a" + "\r\nX: 1" * 5, "headers_too_large"),
        ("Host: a\r\nX: " + "v" * 284, ""),
        ("Host: a\r\nX: " + "v" * 285, "headers_too_large"),
    ],
)
def test_fields(fields: str, expected: str) -> None:
    assert judged(f"POST / HTTP/1.1\r\n{fields}\r\n\r\n".encode()) == expected


def test_http_1_0_may_leave_out_its_host_and_all_fields_but_knows_no_chunks() -> None:
    head = HeadReader(BOUNDS).parse(b"GET / HTTP/1.0\r\n\r\n")
    assert head.fields == [] and head.host == b"" and head.content_length is None and not head.chunked
    assert judged(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n") == "invalid_request"
    assert judged(b"POST / HTTP/1.1\r\n\r\n") == "invalid_request"


def test_bytes_that_are_no_utf_8_are_refused() -> None:
    assert judged(START + b"X: caf\xc3\xa9\r\n\r\n") == ""
    assert judged(START + b"X: caf\xe9\r\n\r\n") == "invalid_request"


@pytest.mark.parametrize(
    "name", ["Host", "Content-Type", "Content-Length", "Transfer-Encoding", "Content-Range", "Max-Forwards", "User-Agent"]
)
def test_what_may_be_sent_once(name: str) -> None:
    value = {"Host": "a", "Content-Length": "1", "Transfer-Encoding": "chunked"}.get(name, "1")
    twice = f"{name}: {value}\r\n" * (1 if name == "Host" else 2)
    assert judged(START + twice.encode() + b"\r\n") == "invalid_request"


@pytest.mark.parametrize(
    "name",
    [
        "access-control-request-headers", "authorization", "connection", "content-encoding", "expect", "sec-websocket-key",
        "sec-websocket-version", "traceparent", "upgrade", "via", "x-forwarded-for",
    ],
)  # fmt: skip
def test_what_the_sidecar_looks_at_is_found_by_name_in_order(name: str) -> None:
    value, other = ("100-continue", "100-Continue") if name == "expect" else ("1", "2")
    head = HeadReader(BOUNDS).parse(START + f"{name}: {value}\r\nX: 1\r\n{name.title()}: {other}\r\n\r\n".encode())
    assert head.read[name.encode()] == head.all(name.encode()) == [value.encode(), other.encode()]
    assert head.first(name.encode()) == value.encode() and [field.read for field in head.fields] == [True, True, False, True]
    assert head.all(b"content-type") == [] and head.first(b"content-type") is None


@pytest.mark.parametrize(
    ("fields", "has_body"),
    [("", False), ("Content-Length: 0\r\n", False), ("Content-Length: 1\r\n", True), ("Transfer-Encoding: chunked\r\n", True)],
)
def test_whether_a_body_follows(fields: str, has_body: bool) -> None:
    head = HeadReader(BOUNDS).parse(START + fields.encode() + b"\r\n")
    assert head.has_body is has_body and head.chunked is ("chunked" in fields)


def test_names_in_connection_are_separated_by_commas_and_blanks() -> None:
    assert HeadReader(BOUNDS).parse(START + b"Connection: , X-A ,\tx-b,\r\n\r\n").nominated == {b"x-a", b"x-b"}


def test_no_secret_and_no_long_line_is_remembered() -> None:
    reader = HeadReader(Bounds())
    lines = [b"Authorization: s", b"Proxy-Authorization: s", b"Cookie: s", b"Cookie2: s", b"X: " + b"v" * 254]
    kept = b"X: " + b"v" * 253
    reader.parse(b"\r\n".join([b"GET / HTTP/1.1", b"Host: a", *lines, kept, b"", b""]))
    assert set(reader._lines) == {b"Host: a", kept}


def test_the_memory_of_lines_begins_anew_when_it_is_full() -> None:
    reader = HeadReader(Bounds())
    for number in range(4095):
        reader.parse(b"GET / HTTP/1.0\r\nX: %d\r\n\r\n" % number)
    assert len(reader._lines) == 4095
    reader.parse(b"GET / HTTP/1.0\r\nX: a\r\n\r\n")
    assert len(reader._lines) == 4096
    reader.parse(b"GET / HTTP/1.0\r\nX: b\r\n\r\n")
    assert set(reader._lines) == {b"X: b"}


# --- Where a head ends


@pytest.mark.parametrize("behind", [b"", b"body", b"\r\n\r\n"])
def test_the_end_is_behind_the_blank_line(behind: bytes) -> None:
    head = START + b"\r\n"
    for scanned in range(len(head)):
        assert sought(head + behind, scanned) == len(head)


def test_every_beginning_of_a_good_head_is_waited_for() -> None:
    head = START + b"X: 1\r\n\r\n"
    for length in range(len(head)):
        for scanned in range(length + 1):
            assert sought(head[:length], scanned) == -1


@pytest.mark.parametrize(
    ("buffer", "expected"),
    [
        (b"\r", -1),
        (b"A", -1),
        (b"Z", -1),
        (b"@", "invalid_request"),
        (b"[", "invalid_request"),
        (b"\r\n", "invalid_request"),
        (b"\x16\x03", "invalid_request"),
        (b"GET / HTTP/1.1\n", "invalid_request"),
        (b"GET / HTTP/1.1\rX", "invalid_request"),
        (b"GET / HTTP/1.1\r\nX: \0", "invalid_request"),
        (b"GET / HTTP/3.1\r\n", "http_505"),
        (b"TRACE / HTTP/1.1\r\nHo", "method_not_allowed"),
        (b"G" * TARGET_LINE, -1),
        (b"G" * (TARGET_LINE + 1), "target_too_long"),
        (START + b"X: " + b"v" * (LONGEST - len(START) - 3), -1),
        (START + b"X: " + b"v" * (LONGEST - len(START) - 2), "headers_too_large"),
        (START + b"X: " + b"v" * (LONGEST - len(START) - 3) + b"\r\n\r\n", LONGEST + 4),
        (START + b"X: " + b"v" * (LONGEST - len(START) - 2) + b"\r\n\r\n", "headers_too_large"),
        (b"G" * (TARGET_LINE + 1) + b"\r\n" + b"v" * LONGEST + b"\r\n\r\n", "target_too_long"),
        (b"G" * TARGET_LINE + b"\r\n" + b"v" * LONGEST + b"\r\n\r\n", "headers_too_large"),
    ],
)
def test_a_head_that_cannot_become_good_is_refused_at_once(buffer: bytes, expected: int | str) -> None:
    assert sought(buffer) == expected


def test_a_fault_between_two_pieces_is_seen() -> None:
    assert sought(b"GET / HTTP/1.1\rX", 15) == "invalid_request"
    assert sought(b"TRACE / HTTP/1.1\r\n", 17) == "method_not_allowed"


def test_what_was_judged_is_not_judged_again() -> None:
    assert sought(b"TRACE / HTTP/1.1\r\nHost: a", 18) == "method_not_allowed"
    assert sought(b"TRACE / HTTP/1.1\r\nHost: a", 19) == -1
