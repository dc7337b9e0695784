"""The reader of plain answers: whatever it takes, llhttp reads alike; whatever is doubtful, it leaves to llhttp."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.worker.upstream.parser import AnswerParser, InvalidAnswer
from sidecar.worker.upstream.plain import LONGEST_HEAD, PlainReader

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


def answer(*lines: bytes, status: bytes = b"200 OK", body: bytes = b"hello") -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + status, *lines, b"", b""]) + body


FIVE, NONE = b"Content-Length: 5", b"Content-Length: 0"


@pytest.mark.parametrize(
    ("data", "patience"),
    [
        (answer(FIVE), -1),
        (answer(FIVE, b"X-Any: 1", status=b"599 "), -1),
        (answer(NONE, body=b""), -1),
        (answer(FIVE, b"Connection: keep-alive"), -1),
        (answer(FIVE, b"connection: Keep-Alive", b"keep-alive: max=9"), -1),
        (answer(FIVE, b"Keep-Alive: timeout=0"), 0),
        (answer(FIVE, b"Keep-Alive: timeout=1"), 0),
        (answer(FIVE, b"Keep-Alive: timeout=2, max=9"), 1),
        (answer(FIVE, b"Keep-Alive: timeout=" + b"7" * 9), 777_777_776),
    ],
)
def test_what_is_plain_is_taken(data: bytes, patience: float) -> None:
    reader = PlainReader()
    for _ in range(2):
        taken = reader.read(data)
        assert taken is not None
        assert (b"%d" % taken.status, taken.body, taken.patience) == (data[9:12], data.partition(b"\r\n\r\n")[2], patience)
        assert b"\r\n".join(b"%b: %b" % field for field in taken.headers) == data.partition(b"\r\n\r\n")[0].partition(b"\r\n")[2]


@pytest.mark.parametrize(
    "data",
    [
        USUAL.replace(b"HTTP/1.1", b"HTTP/1.0"),
        USUAL.replace(b"hello", b"hell"),
        USUAL.replace(b"hello", b"hello!"),
        answer(FIVE, b"X: a\tb"),
        answer(),
        answer(body=b""),
        *(answer(*lengths, body=body) for lengths in ((NONE, FIVE), (FIVE, NONE), (FIVE, FIVE)) for body in (b"", b"hello")),
        *(answer(FIVE, status=status) for status in (b"204 No Content", b"205 Reset Content", b"304 Not Modified")),
        *(answer(FIVE, b"Connection: " + value) for value in (b"close", b"upgrade", b"Keep-Alive, close")),
        *(answer(FIVE, name + b": x") for name in (b"Transfer-Encoding", b"Upgrade", b"Trailer", b"Proxy-Connection", b"TE")),
        answer(FIVE, b"Keep-Alive: timeout=" + b"7" * 10),
    ],
)
def test_what_is_not_plain_is_left_alone(data: bytes) -> None:
    reader = PlainReader()
    assert reader.read(USUAL) is not None
    for _ in range(2):
        assert reader.read(data) is None


def test_a_head_has_a_greatest_size() -> None:
    blank = len(answer(FIVE, b"X-Long: ", body=b""))
    longest = answer(FIVE, b"X-Long: " + b"x" * (LONGEST_HEAD - blank))
    assert longest.index(b"hello") == LONGEST_HEAD == 8192
    assert PlainReader().read(longest) is not None
    assert PlainReader().read(longest.replace(b"xx", b"xxx", 1)) is None


def test_a_piece_of_a_body_is_never_taken_for_an_answer() -> None:
    parser = AnswerParser(PlainReader())
    parser.feed(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(USUAL))
    assert not parser.complete
    parser.feed(USUAL)
    assert parser.complete and parser.take() == USUAL and parser.headers == [(b"Content-Length", b"%d" % len(USUAL))]


def test_lines_that_came_before_are_remembered() -> None:
    reader = PlainReader()
    assert reader.read(USUAL) is not None and reader.read(answer(FIVE, b"X: 1")) is not None
    assert list(reader._status_lines) == [b"HTTP/1.1 200 OK"]
    assert list(reader._fields) == [b"Content-Type: application/json", b"Content-Length: 5", b"Keep-Alive: timeout=5", b"X: 1"]


def test_memory_is_bounded() -> None:
    reader, most = PlainReader(), 0
    for number in range(3000):
        assert reader.read(answer(FIVE, b"X-Number: %d" % number)) is not None
        most = max(most, len(reader._fields))
    assert most == 1024
    assert reader.read(answer(FIVE, *(b"X: " + b"x" * (length - 3) for length in (128, 129)))) is not None
    assert max(map(len, reader._fields)) == 128


@pytest.mark.parametrize("name", [b"Set-Cookie", b"set-cookie2", b"Authorization", b"WWW-Authenticate"])
def test_no_secret_is_remembered(name: bytes) -> None:
    reader = PlainReader()
    assert reader.read(answer(name + b": secret", FIVE)) is not None
    assert list(reader._fields) == [FIVE]
