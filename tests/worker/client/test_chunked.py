"""The chunked decoder against its own definition, at every split."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.refusals import Refused
from sidecar.worker.client.chunked import ChunkedDecoder
from tests.fuzz.material import without_blanks

bodies = st.lists(st.binary(min_size=1, max_size=40), max_size=6)


def encode(pieces: list[bytes], extension: bytes = b"", trailer: bytes = b"") -> bytes:
    return b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces) + b"0\r\n" + trailer + b"\r\n"


@given(
    bodies,
    st.sampled_from([b"", b";a=1", b";a", b';a="b \\"c\\"";d', b' \t; a = 1\t;\tb ="c" ;d']),
    st.sampled_from([b"", b"X-T: 1\r\n"]),
    st.binary(max_size=8),
    st.data(),
)
def test_every_split_decodes_alike(pieces: list[bytes], extension: bytes, trailer: bytes, rest: bytes, data: st.DataObject) -> None:
    raw = encode(pieces, extension, trailer) + rest
    decoder = ChunkedDecoder()
    decoded = b""
    position = 0
    while position < len(raw):
        step = data.draw(st.integers(1, len(raw)))
        decoded += b"".join(decoder.feed(raw[position : position + step]))
        position += step
        if decoder.done:
            break
    assert decoder.done and decoded == b"".join(pieces)
    assert decoder.rest + raw[position:] == rest


@given(st.binary(max_size=60))
def test_what_is_accepted_is_what_llhttp_accepts(raw: bytes) -> None:
    decoder = ChunkedDecoder()
    try:
        decoded = b"".join(decoder.feed(raw))
    except Refused:
        return
    if not decoder.done:
        return
    seen: list[bytes] = []

    class Oracle:
        def on_body(self, body: bytes) -> None:
            seen.append(body)

    parser = httptools.HttpRequestParser(Oracle())
    end = len(raw) - len(decoder.rest)
    parser.feed_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + without_blanks(raw[:end]))
    assert b"".join(seen) == decoded


@pytest.mark.parametrize(
    "raw",
    [
        b"5 \r\n",
        b"5\t\r\n",
        b" 5;a\r\n",
        b"5 a\r\n",
        b"5 ;\r\n",
        b"5; \r\n",
        b"5;a \r\n",
        b"5;a=1\t\r\n",
        b"5;a= \r\n",
        b"5;a b\r\n",
        b"5;a=b c\r\n",
        b"5 \x0b;a\r\n",
        b"5;\xa0a\r\n",
        b"5 \r;a\r\n",
        b"0x5\r\n",
        b"+5\r\n",
        b"g\r\n",
        b"5\n",
        b"\n",
        b"0\r\nX: 12\n",
        b"0\r\n\n",
        b'5;a="b\r\n',
        b'5;a="\x00"\r\n',
        b"5\r\nhelloXX",
        b"5\r\nhello\n",
        b"0\r\nbad\r\n",
        b"0\r\nX : 1\r\n",
        b"f" * 16 + b"\r\n",
        b";\r\n",
        b"\r\n",
    ],
)
def test_faults_are_refused_at_once(raw: bytes) -> None:
    with pytest.raises(Refused):
        ChunkedDecoder().feed(raw)


def test_extensions_and_trailers_are_bounded() -> None:
    with pytest.raises(Refused):
        ChunkedDecoder().feed(b"5;" + b"a" * 600)
    with pytest.raises(Refused) as refused:
        ChunkedDecoder().feed(b"0\r\n" + b"X: 1\r\n" * 3000)
    assert refused.value.refusal.status == 431


def test_blanks_count_towards_the_bound_and_take_no_time() -> None:
    for line in (b"5" + b" " * 505 + b";a", b"5;a" + b" " * 505 + b"=b", b"5" + b" ;a" * 160):
        assert ChunkedDecoder().feed(line + b"\r\nhello") == [b"hello"]
        with pytest.raises(Refused):
            ChunkedDecoder().feed(line + b" " * 100)
    # A pattern that tries every way to share them out would not end within a life.
    for line in (b"5;a" + b" " * 500 + b"!@", b"5" + b" ; a" * 120 + b" ", b"5" + b" ; a = b" * 60 + b" @"):
        with pytest.raises(Refused):
            ChunkedDecoder().feed(line + b"\r\n")


LINE, TRAILERS = 512, 8192
"""Bytes, of which the first has its CRLF in it and the second has not."""


def _size_line(length: int) -> bytes:
    return b"5;" + b"a" * (length - 4) + b"\r\n"


def _trailers(length: int) -> bytes:
    """Trailer lines of so many bytes in all, their CRLFs not counted."""
    return b"X: 1234\r\n" * (length // 7 - 1) + b"X: 1234" + b"5" * (length % 7) + b"\r\n"


def test_a_size_line_is_bounded_before_it_ends() -> None:
    assert ChunkedDecoder().feed(_size_line(LINE) + b"hello") == [b"hello"]
    with pytest.raises(Refused, match="invalid_request"):
        ChunkedDecoder().feed(_size_line(LINE + 1))
    assert ChunkedDecoder().feed(_size_line(9999)[: LINE - 1]) == []
    with pytest.raises(Refused, match="invalid_request"):
        ChunkedDecoder().feed(_size_line(9999)[:LINE])


def test_trailers_are_bounded_together() -> None:
    decoder = ChunkedDecoder()
    decoder.feed(b"0\r\n" + _trailers(TRAILERS) + b"\r\n")
    assert decoder.done
    with pytest.raises(Refused) as refused:
        ChunkedDecoder().feed(b"0\r\n" + _trailers(TRAILERS + 1))
    assert refused.value.refusal.status == 431
