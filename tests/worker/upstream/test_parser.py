"""What a faulty hub may send without end: none of it is gathered without bound."""

from __future__ import annotations

import pytest

from sidecar.worker.upstream.parser import LONGEST_HEAD, AnswerParser, InvalidAnswer
from sidecar.worker.upstream.plain import PlainReader

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "begun",
    [
        b"HTTP/1.1 200 OK\r\nX-Field: ",
        CHUNKED + b"1\r\nx\r\n0\r\nX-Trailer: ",
        CHUNKED + b"1\r\nx\r\n0\r\nX-Trailer",
        CHUNKED + b"1\r\nx\r\n1;extension=",
        CHUNKED + b"0\r\nX-Trailer: ",
    ],
)
@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("piece", [1000, LONGEST_HEAD // 2, LONGEST_HEAD])
def test_a_field_without_end_is_no_answer(begun: bytes, taken: bool, piece: int) -> None:
    parser = AnswerParser(PlainReader())
    parser.feed(begun)
    for _ in range(LONGEST_HEAD // piece - 1):
        if taken and parser.pieces:
            assert parser.take() == b"x"
        parser.feed(b"a" * piece)
    parser.feed(b"a" * (piece // 2))
    with pytest.raises(InvalidAnswer):
        parser.feed(b"a" * 2 * piece)


@pytest.mark.parametrize("taken", [True, False])
def test_framing_in_segments_of_its_own_is_no_field_without_end(taken: bool) -> None:
    parser = AnswerParser(PlainReader())
    parser.feed(CHUNKED)
    size = b"1;extension=" + b"a" * 1000 + b"\r\n"
    body = b""
    for _ in range(2 * LONGEST_HEAD // len(size)):
        for piece in (size, b"x", b"\r\n"):
            parser.feed(piece)
        body += parser.take() if taken else b""
    parser.feed(b"0\r\nX-Trailer: " + b"a" * 1000 + b"\r\n\r\n")
    assert parser.clean
    assert body + parser.take() == b"x" * (2 * LONGEST_HEAD // len(size))


def test_an_answer_to_head_has_no_body_even_if_some_comes() -> None:
    parser = AnswerParser(PlainReader())
    parser.start(b"HEAD")
    parser.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na")
    parser.feed(b"bc")
    assert parser.complete and not parser.clean and parser.take() == b""


@pytest.mark.parametrize("digits", [12, 400, 5000])
def test_a_hub_may_promise_to_keep_connections_for_ever(digits: int) -> None:
    parser = AnswerParser(PlainReader())
    parser.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=%b\r\n\r\n0\r\n\r\n" % (b"9" * digits))
    assert parser.complete and parser.idle_patience == 999_999_998.0


@pytest.mark.parametrize("value", [b"chunked ", b"Chunked  ", b"  chunked   "])
@pytest.mark.parametrize("piece", [1, 1000])
def test_blanks_around_a_coding_are_not_of_it(value: bytes, piece: int) -> None:
    """RFC 9110 5.5."""
    parser = AnswerParser(PlainReader())
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding:%b\r\n\r\n2\r\nhi\r\n0\r\n\r\n" % value
    for at in range(0, len(answer), piece):
        parser.feed(answer[at : at + piece])
    assert parser.clean and parser.take() == b"hi"


def test_a_coding_that_is_read_in_two_ways_is_no_answer() -> None:
    with pytest.raises(InvalidAnswer):
        AnswerParser(PlainReader()).feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\t\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
