"""What comes back from the hub and off the disk: readers that meet arbitrary bytes read what is sound and stop at what is not."""

from __future__ import annotations

import gzip
import typing
import zlib

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.totals.sums import Sums
from sidecar.events import record, wire
from sidecar.events.spool import frame, records
from sidecar.hubs.profile import UsageDialect
from sidecar.hubs.usage import Usage, open_reader
from sidecar.worker.upstream.parser import AnswerParser, InvalidAnswer
from tests.fuzz.effort import fuzz
from tests.fuzz.material import cuts, mutated, split

DIALECTS = typing.get_args(UsageDialect)
TYPES = ["application/json", "text/event-stream", "application/x-ndjson", "text/html", ""]
ANSWERS = [
    b'{"usage":{"inputTokens":3,"outputTokens":4,"aigneHubCredits":0.5},"model":"m"}',
    b'data: {"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\ndata: [DONE]\n\n',
    b'event: message_delta\ndata: {"usage":{"output_tokens":5}}\n\n',
    b'{"prompt_eval_count":1,"eval_count":2,"done":true}\n',
    b'{"error":{"message":"x"}}',
    b'{"usage":{"inputTokens":1e400,"outputTokens":-1}}',
    b'{"usage":null,"images":[{},{}]}',
]


def metered(dialect: str, content_type: str, coding: str, pieces: list[bytes], complete: bool) -> Usage:
    reader = open_reader(dialect, content_type, coding)
    for piece in pieces:
        reader.feed(piece)
    return reader.finish(complete)


@fuzz
@given(
    st.one_of(st.binary(max_size=200), mutated(ANSWERS), mutated([gzip.compress(ANSWERS[0], mtime=0), zlib.compress(ANSWERS[1])])),
    st.sampled_from(DIALECTS),
    st.sampled_from(TYPES),
    st.sampled_from(["", "gzip", "deflate", "br", "x"]),
    st.booleans(),
    cuts,
)
def test_any_answer_is_metered_without_a_fault_and_alike_in_any_pieces(
    body: bytes, dialect: str, content_type: str, coding: str, complete: bool, places: list[int]
) -> None:
    whole = metered(dialect, content_type, coding, [body], complete)
    pieces = metered(dialect, content_type, coding, split(body, places), complete)
    # Of a compressed answer that is damaged, more can be read when it came in pieces.
    assert whole == pieces or (coding in ("gzip", "deflate") and "none" in (whole.source, pieces.source))
    tokens = whole.tokens
    assert min(tokens.input, tokens.output, tokens.cached_input, tokens.cache_creation_input, tokens.images) >= 0
    assert tokens.credits >= 0 and whole.source in ("none", "hub", "partial")
    wire.decode(wire.encode(_event(whole)))


def _event(usage: Usage) -> record.Request:
    return record.Request(
        1.0, "req_1", "key_1", "sec_1", "ok", "", 200, 200, "GET", "chat", "/x", "m", usage.model, "192.0.2.1", "agent", False, "complete",
        1.0, 0.1, 0.1, 0.5, 0.5, 1, 2, usage.tokens, usage.source,
    )  # fmt: skip


@fuzz
@given(st.one_of(st.binary(max_size=100), mutated([wire.encode(_event(Usage(record.NO_TOKENS, "m", "none", "")))])))
def test_an_event_is_decoded_or_refused_and_what_is_decoded_can_be_written(data: bytes) -> None:
    try:
        event = wire.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
    assert wire.decode(wire.encode(event)) == event or "nan" in repr(event)


@fuzz
@given(st.lists(st.binary(max_size=60), max_size=6), st.binary(max_size=30), st.integers(0, 1 << 16), st.integers(0, 255))
def test_a_damaged_spool_is_read_up_to_the_damage_and_no_further(written: list[bytes], tail: bytes, place: int, byte: int) -> None:
    data = b"".join(map(frame, written))
    assert [one for _, one in records(data)] == written
    cut = place % (len(data) + 1)
    found = [one for _, one in records(data[:cut])]
    assert found == written[: len(found)]
    if data:
        at = place % len(data)
        found = [one for _, one in records(data[:at] + bytes([byte]) + data[at + 1 :])]
        assert found == written or found == written[: len(found)]
    with_tail = [one for _, one in records(data + tail)]
    assert with_tail[: len(written)] == written


_GOOD = wire.encode(_event(Usage(record.NO_TOKENS, "m", "none", "")))


HUB_ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: 1\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nto the end",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
]


def parsed(pieces: list[bytes]) -> tuple[int, list[tuple[bytes, bytes]], bytes, bool, bool] | None:
    parser = AnswerParser()
    try:
        for piece in pieces:
            if piece:
                parser.feed(piece)
    except InvalidAnswer:
        return None
    headers = list(parser.headers) if parser.head_complete else []
    return parser.status, headers, parser.take(), parser.complete, parser.clean


@fuzz
@given(st.one_of(mutated(HUB_ANSWERS), st.binary(max_size=100)), cuts)
def test_a_complete_answer_is_the_same_in_any_pieces_and_one_only(raw: bytes, places: list[int]) -> None:
    whole, pieces = parsed([raw]), parsed(split(raw, places))
    for one in (whole, pieces):
        if one is None:
            continue
        status, headers, _, complete, clean = one
        assert complete or not clean
        assert not status or 101 <= status <= 999
        assert not any(b"\r" in value or b"\n" in value or b"\0" in value for _, value in headers)
    if whole is not None and pieces is not None and whole[3] and b" 101 " not in raw:
        assert whole[:4] == pieces[:4]


@fuzz
@given(st.lists(st.one_of(st.just(_GOOD), st.binary(max_size=60), mutated([_GOOD])), max_size=5))
def test_no_record_keeps_the_fold_from_the_records_around_it(written: list[bytes]) -> None:
    """A record that cannot be read must not end the control process, which would meet it again after each start."""
    sums = Sums()
    sums.add([_GOOD, *written, _GOOD])
    assert [found for block in sums.blocks.values() for found in block.records].count(_GOOD) == 2 + written.count(_GOOD)
