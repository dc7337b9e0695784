"""Heads that are good: what is read out of them. What is refused stands in tests/wire."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.refusals import Refused
from sidecar.settings.declaration import Bounds
from sidecar.worker.client.head import HeadReader, skip_blank_lines
from sidecar.worker.client.request_head import RequestHead


def parse(*lines: str, reader: HeadReader | None = None) -> RequestHead:
    return (reader or HeadReader(Bounds())).parse("".join(f"{line}\r\n" for line in (*lines, "")).encode())


def test_fields_keep_order_duplicates_and_spelling() -> None:
    head = parse("GET /a?b=c HTTP/1.1", "Host: gw.test:8080", "X-B:  two words \t", "x-a: 1", "X-A:", "X-U: caf\u00e9")
    assert [(field.name, field.value) for field in head.fields[1:]] == [
        (b"x-b", b"two words"), (b"x-a", b"1"), (b"x-a", b""), (b"x-u", "caf\u00e9".encode()),
    ]  # fmt: skip
    assert head.fields[1].line == b"X-B: two words\r\n"
    assert (head.method, head.target.path, head.target.query, head.host) == (b"GET", b"/a", b"b=c", b"gw.test:8080")
    assert head.all(b"x-a") == [b"1", b""] and head.first(b"none") is None


@pytest.mark.parametrize(
    ("lines", "keep_alive"),
    [
        (["GET / HTTP/1.1", "Host: a"], True),
        (["GET / HTTP/1.1", "Host: a", "Connection: Close"], False),
        (["GET / HTTP/1.1", "Host: a", "Connection: x, close"], False),
        (["GET / HTTP/1.0"], False),
        (["GET / HTTP/1.0", "Connection: Keep-Alive"], True),
    ],
)
def test_persistence(lines: list[str], keep_alive: bool) -> None:
    assert parse(*lines).keep_alive is keep_alive


def test_framing_and_expectations() -> None:
    assert parse("POST / HTTP/1.1", "Host: a", "Content-Length: 007").content_length == 7
    assert parse("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: Chunked").chunked
    assert parse("POST / HTTP/1.1", "Host: a", "Expect: 100-Continue", "Content-Length: 1").expects_continue
    assert not parse("POST / HTTP/1.0", "Expect: 100-continue").expects_continue
    upgrade = parse("GET / HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: WebSocket")
    assert upgrade.upgrade == b"websocket" and upgrade.nominated == {b"upgrade"}
    assert parse("GET / HTTP/1.1", "Host: a", "Upgrade: websocket").upgrade == b""


def test_secrets_are_not_remembered() -> None:
    reader = HeadReader(Bounds())
    parse("GET / HTTP/1.1", "Host: a", "Authorization: Bearer secret", "Cookie: secret", "X-A: 1", reader=reader)
    assert not any(b"secret" in line for line in reader._lines) and b"X-A: 1" in reader._lines


def test_memory_of_lines_is_bounded() -> None:
    reader = HeadReader(Bounds())
    for number in range(10_000):
        parse("GET / HTTP/1.1", "Host: a", f"X-A: {number}", reader=reader)
    assert len(reader._lines) <= 4096


def test_blank_lines_in_front() -> None:
    buffer = bytearray(b"\r\n\r\nGET")
    assert skip_blank_lines(buffer, 0) == 2 and buffer == b"GET"
    with pytest.raises(Refused):
        skip_blank_lines(bytearray(b"\r\n"), 2)


@given(
    st.lists(
        st.sampled_from(
            ["X-A: 1", "x-b:2", "Content-Length: 3", "Connection: close", "X-C:\t v \t", "Host: b", "X-\u00e9: 1", "Expect: x"]
        ),
        max_size=5,
    )
)
def test_what_is_accepted_is_read_as_llhttp_reads_it(lines: list[str]) -> None:
    raw = "".join(f"{line}\r\n" for line in ("POST /p?q=1 HTTP/1.1", "Host: a", *lines, "")).encode()
    try:
        head = HeadReader(Bounds()).parse(raw)
    except Refused:
        return
    seen: list[tuple[bytes, bytes]] = []

    class Oracle:
        def on_header(self, name: bytes, value: bytes) -> None:
            seen.append((name.lower(), value.strip()))

    parser = httptools.HttpRequestParser(Oracle())
    parser.feed_data(raw)
    assert seen == [(field.name, field.value) for field in head.fields]
