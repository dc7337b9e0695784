"""The reader of request heads and bodies against arbitrary bytes, and against llhttp as a second opinion."""

from __future__ import annotations

import contextlib
import posixpath
import re
from urllib.parse import unquote_to_bytes

import httptools
from hypothesis import given
from hypothesis import strategies as st

from sidecar.refusals import Refused
from sidecar.settings.declaration import Bounds
from sidecar.worker.client.body import RequestBody
from sidecar.worker.client.chunked import ChunkedDecoder
from sidecar.worker.client.head import HeadReader
from sidecar.worker.client.request_head import RequestHead
from sidecar.worker.client.target import parse_target
from tests.fuzz.effort import fuzz
from tests.fuzz.material import NASTY, RAW, cuts, mutated, requests, split, without_blanks


class SecondOpinion:
    """What llhttp makes of a request."""

    def __init__(self, raw: bytes) -> None:
        self.url = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.complete = False
        parser = httptools.HttpRequestParser(self)
        with contextlib.suppress(httptools.HttpParserUpgrade):
            parser.feed_data(raw)
        self.method = parser.get_method()
        self.version = parser.get_http_version()
        self.keep_alive = parser.should_keep_alive()

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.complete:
            self.fields.append((name.lower(), value.strip(b" \t")))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


def read(pieces: list[bytes]) -> tuple[RequestHead | str, bytes]:
    """The head in `pieces` as a connection reads it, or the code of the refusal; and what follows the head."""
    reader = HeadReader(Bounds())
    buffer = bytearray()
    scanned = 0
    try:
        for place, piece in enumerate(pieces):
            if not piece:
                continue
            buffer += piece
            end = reader.find_end(buffer, scanned)
            if end >= 0:
                return reader.parse(bytes(buffer[:end])), bytes(buffer[end:]) + b"".join(pieces[place + 1 :])
            scanned = len(buffer)
    except Refused as refused:
        return refused.refusal.code, b""
    return "incomplete", bytes(buffer)


@fuzz
@given(requests)
def test_a_head_that_is_accepted_is_read_alike_by_llhttp(raw: bytes) -> None:
    head, rest = read([raw])
    if isinstance(head, str):
        return
    other = SecondOpinion(raw[: len(raw) - len(rest)])
    assert (other.method, other.version) == (head.method, f"1.{head.minor_version}")
    assert other.fields == [(field.name, field.value) for field in head.fields]
    assert other.url == head.target.raw or re.match(rb"(?i)https?://", other.url)
    if not head.upgrade:
        assert other.complete == (not head.has_body), "one waits for a body and the other does not"
        assert other.keep_alive == head.keep_alive


def told(head: RequestHead) -> tuple[object, ...]:
    return (
        head.method, head.target, head.minor_version, head.fields, head.host, head.content_length, head.chunked, head.keep_alive,
        head.expects_continue, head.nominated, head.upgrade, head.read,
    )  # fmt: skip


@fuzz
@given(requests, cuts)
def test_the_pieces_that_bytes_arrive_in_change_nothing(raw: bytes, places: list[int]) -> None:
    whole, rest = read([raw])
    parts, other_rest = read(split(raw, places))
    if isinstance(whole, str) or isinstance(parts, str):
        # What is refused for two reasons may be refused for either, depending on what came first; never accepted.
        assert isinstance(whole, str) and isinstance(parts, str)
        assert (whole == "incomplete") == (parts == "incomplete") or "incomplete" in (whole, parts)
    else:
        assert (told(whole), rest) == (told(parts), other_rest)


@fuzz
@given(requests)
def test_nothing_in_an_accepted_head_can_end_a_line(raw: bytes) -> None:
    head, _ = read([raw])
    if isinstance(head, str):
        return
    for field in head.fields:
        assert re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", field.name)
        assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", field.value)
        assert field.line.count(b"\r\n") == 1 and field.line.endswith(b"\r\n")
        field.value.decode("utf-8")
    assert not (head.chunked and head.content_length is not None)


targets = st.one_of(
    st.binary(max_size=40),
    st.lists(st.sampled_from([*NASTY, b"/v1", b"/a", b".", b"%2E", b"%5c", b"..;", b"%252e", b"http://gw.test", b"*"]), max_size=8).map(
        b"".join
    ),
    mutated([b"/v1/models?a=b", b"/a/../b", b"/v1/%2e%2e/admin", b"http://gw.test/v1?x"]),
)


@fuzz
@given(targets, st.sampled_from([b"GET", b"OPTIONS"]))
def test_an_accepted_path_means_the_same_before_and_after_it_is_resolved(raw: bytes, method: bytes) -> None:
    try:
        target = parse_target(method, raw, b"gw.test")
    except Refused:
        return
    assert raw.endswith(target.raw) or (target.path == b"/" and b"://" in raw) or raw == b"*"
    if raw == b"*":
        return
    decoded = unquote_to_bytes(target.path)
    resolved = posixpath.normpath(decoded)
    assert resolved == (decoded.rstrip(b"/") or b"/"), "a resolver would go elsewhere"
    assert not re.search(rb"[\x00-\x20\x7f#\\]", target.raw) and b"\0" not in decoded and b"\\" not in decoded


bodies = st.lists(st.binary(min_size=1, max_size=40), max_size=5)


@st.composite
def chunked_bodies(draw: st.DrawFn) -> bytes:
    """A chunked body with what the standard allows, mutated or not."""
    parts = []
    for piece in draw(bodies):
        size = draw(st.sampled_from([b"%x", b"%X", b"0%x", b"%x;a=b", b'%x;a="b"', b"%x ;\ta = b ; c", b'%x; a="; ="'])) % len(piece)
        parts.append(size + b"\r\n" + piece + b"\r\n")
    trailer = draw(st.sampled_from([b"", b"X-T: 1\r\n", b"X-T: 1\r\nX-U:\r\n"]))
    whole = b"".join(parts) + b"0\r\n" + trailer + b"\r\n"
    return draw(st.one_of(st.just(whole), mutated([whole])))


def decoded(pieces: list[bytes]) -> tuple[bytes, bytes] | None:
    decoder = ChunkedDecoder()
    body = b""
    try:
        for piece in pieces:
            body += b"".join(decoder.feed(piece)) if not decoder.done else b""
    except Refused:
        return None
    return (body, decoder.rest) if decoder.done else None


@fuzz
@given(chunked_bodies(), st.sampled_from([b"", b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"]))
def test_a_chunked_body_that_is_accepted_is_read_alike_by_llhttp(raw: bytes, behind: bytes) -> None:
    ours = decoded([raw + behind])
    if ours is None:
        return
    body, rest = ours
    message = without_blanks((raw + behind)[: len(raw + behind) - len(rest)])
    other = SecondOpinion(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + message)
    assert other.complete and other.body == body


@fuzz
@given(chunked_bodies(), cuts)
def test_a_chunked_body_is_the_same_in_any_pieces(raw: bytes, places: list[int]) -> None:
    whole = decoded([raw])
    pieces = decoded(split(raw, places))
    assert (whole is None) == (pieces is None)
    if whole is not None and pieces is not None:
        assert whole[0] == pieces[0]


class Flow:
    """A client that may be held back."""

    def hold(self) -> None: ...

    def release(self) -> None: ...

    def send_continue(self) -> None: ...


@fuzz
@given(st.integers(0, 300), st.booleans(), st.lists(st.one_of(st.binary(max_size=80), chunked_bodies()), max_size=6))
def test_a_body_never_ends_twice_nor_after_a_fault(length: int, chunked: bool, pieces: list[bytes]) -> None:
    body = RequestBody(Flow(), length, chunked, 1 << 20, False)
    was_broken = False
    for piece in pieces:
        if body.complete:
            return
        rest = body.feed(piece)
        assert (rest is not None) == body.complete
        assert not (was_broken and body.complete)
        was_broken = was_broken or body.error is not None
    if not chunked:
        assert body.received <= length and body.complete == (body.received == length)


def test_the_seeds_are_worth_mutating() -> None:
    accepted = [raw for raw in RAW if not isinstance(read([raw])[0], str)]
    assert len(accepted) > 20 and len(RAW) - len(accepted) > 200
