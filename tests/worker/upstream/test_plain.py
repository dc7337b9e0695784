"""The reader of plain answers: whatever it takes, llhttp reads alike; whatever is doubtful, it leaves to llhttp."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.worker.upstream import plain as module
from sidecar.worker.upstream.parser import AnswerParser, InvalidAnswer
from sidecar.worker.upstream.plain import PlainReader

LINES = st.sampled_from(
    [
        b"Content-Length: 5",
        b"content-length: 5",
        b"Content-Length:5",
        b"Content-Length: 05",
        b"Content-Length: +5",
        b"Content-Length: 5 ",
        b"Content-Length: 5, 5",
        b"Content-Length : 5",
        b"Content-Length: 0",
        b"Content-Length: 6",
        b"Content-Length: 99999999999999999999",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: identity",
        b"Connection: keep-alive",
        b"Connection: close",
        b"Connection: Keep-Alive, close",
        b"Connection: upgrade",
        b"Proxy-Connection: close",
        b"Upgrade: websocket",
        b"Keep-Alive: timeout=5",
        b"Keep-Alive: timeout=5, max=100",
        b"Keep-Alive: max=1",
        b"Keep-Alive: timeout=" + b"7" * 12,
        b"Trailer: X",
        b"Content-Type: application/json",
        b"Date: Tue, 24 Nov 2026 12:00:00 GMT",
        b"Set-Cookie: session=secret",
        b"X-Empty:",
        b"X-Blank:   two  blanks",
        b"X-Tab: a\tb",
        b"X-Latin: \xe9",
        b"X-Nul: a\x00b",
        b"X-Lf: a\nContent-Length: 7",
        b"X-Cr: a\rb",
        b" folded",
        b"no colon",
        b"Bad name: x",
        b": x",
        b"",
    ]
)
STATUS_LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 ",
        b"HTTP/1.1 200",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 404 Not Found",
        b"HTTP/1.1 500 Oops",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 205 Reset Content",
        b"HTTP/1.1 304 Not Modified",
        b"HTTP/1.1 100 Continue",
        b"HTTP/1.1 101 Switching Protocols",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 999 No",
        b"http/1.1 200 OK",
        b"\r\nHTTP/1.1 200 OK",
    ]
)
BODIES = st.sampled_from(
    [b"hello", b"hello", b"", b"hell", b"hello!", b"5\r\nhello\r\n0\r\n\r\n", b"helloHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]
)
ANSWERS = st.builds(
    lambda status, lines, body: b"\r\n".join([status, *lines, b"", b""]) + body, STATUS_LINES, st.lists(LINES, max_size=5), BODIES
)
USUAL = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\nKeep-Alive: timeout=5\r\n\r\nhello"


def told(parser: AnswerParser, pieces: list[bytes]) -> Any:
    """Everything that a parser says of what it was fed."""
    try:
        for piece in pieces:
            parser.feed(piece)
    except InvalidAnswer:
        return None
    return (
        parser.status, parser.headers, parser.buffered, parser.take(), parser.head_complete, parser.complete, parser.clean,
        parser.keep_alive, parser.counted, parser.surplus, parser.upgraded, parser.idle_patience,
    )  # fmt: skip


@given(st.lists(st.tuples(ANSWERS, st.sampled_from([b"GET", b"GET", b"POST", b"HEAD"]), st.none() | st.integers(0, 200)), max_size=6))
def test_a_connection_is_read_as_llhttp_alone_reads_it(script: list[tuple[bytes, bytes, int | None]]) -> None:
    both, alone = AnswerParser(PlainReader()), AnswerParser()
    for data, method, cut in script:
        pieces = [data] if cut is None else [data[:cut], data[cut:]]
        both.start(method)
        alone.start(method)
        said = told(alone, pieces)
        assert told(both, pieces) == said
        if said is None or not alone.clean:
            # Such a connection is not used again.
            both, alone = AnswerParser(both._plain), AnswerParser()


@given(st.data())
def test_one_changed_byte_is_seen(data: st.DataObject) -> None:
    reader = PlainReader()
    at = data.draw(st.integers(0, len(USUAL)))
    changed = USUAL[:at] + data.draw(st.binary(max_size=2)) + USUAL[at + data.draw(st.integers(0, 2)) :]
    for _ in range(2):
        assert told(AnswerParser(reader), [changed]) == told(AnswerParser(), [changed])


def test_the_usual_answer_is_taken_and_then_surplus_is_seen() -> None:
    parser = AnswerParser(PlainReader())
    parser.feed(USUAL)
    assert parser.clean and parser.idle_patience == 4.0
    parser.feed(b"HTTP/1.1 200 OK\r\n")
    assert parser.surplus and not parser.clean


@pytest.mark.parametrize(
    "change", [(b"HTTP/1.1", b"HTTP/1.0"), (b"hello", b"hell"), (b"hello", b"hello!"), (b"Keep-Alive: timeout=5", b"X: a\tb")]
)
def test_what_is_not_plain_is_left_alone(change: tuple[bytes, bytes]) -> None:
    reader = PlainReader()
    assert reader.read(USUAL) is not None
    assert reader.read(USUAL.replace(*change)) is None


def test_a_piece_of_a_body_is_never_taken_for_an_answer() -> None:
    parser = AnswerParser(PlainReader())
    parser.feed(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(USUAL))
    assert not parser.complete
    parser.feed(USUAL)
    assert parser.complete and parser.take() == USUAL and parser.headers == [(b"Content-Length", b"%d" % len(USUAL))]


def test_memory_is_bounded_and_keeps_no_cookie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_REMEMBERED", 3)
    reader = PlainReader()
    for number in range(10):
        cookie = b"\r\nSet-Cookie: session=secret\r\nX-Long: " + b"x" * 200
        assert reader.read(USUAL.replace(b"\r\nKeep", b"\r\nX-Number: %d%b\r\nKeep" % (number, cookie))) is not None
    assert len(reader._fields) <= 3
    assert not any(b"secret" in line or len(line) > 128 for line in reader._fields)
