"""The ends of answers."""

from __future__ import annotations

import pytest

from benchmarks.load.request import chat, get
from benchmarks.load.wire import is_whole, raw_request


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", True),
    ],
)
def test_an_answer_is_whole_when_its_last_byte_is_there(answer: bytes, whole: bool) -> None:
    assert is_whole(answer) is whole


def test_a_request_has_the_length_of_its_body() -> None:
    request = chat()
    raw = raw_request(request, "secret", "a.test:80")
    head, _, body = raw.partition(b"\r\n\r\n")
    assert body == request.body and b"Content-Length: %d" % len(body) in head and b"Authorization: Bearer secret" in head
    assert b"Content-Length" not in raw_request(get(), "secret", "a.test")
