from __future__ import annotations

import gzip
import itertools
import tracemalloc
import zlib

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from sidecar.events.record import Tokens
from sidecar.hubs.usage import Usage, open_reader
from sidecar.hubs.usage.dialects import DIALECTS
from sidecar.hubs.usage.inflate import MOST_MEMBERS
from tests.hubs.usage.corpus import JSON, SSE, Answer, answers, dump, event, hidden_failures, streams


def read(answer: Answer, chunks: list[bytes], coding: str = "", complete: bool = True) -> Usage:
    reader = open_reader(answer.dialect, answer.content_type, coding)
    for chunk in chunks:
        reader.feed(chunk)
    return reader.finish(complete)


def split(body: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(position % (len(body) + 1) for position in at), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(edges)]


def bare_deflate(body: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(body) + compressor.flush()


CODINGS = [
    ("", bytes),
    ("identity", bytes),
    ("gzip", gzip.compress),
    ("gzip", lambda body: gzip.compress(body[: len(body) // 2]) + gzip.compress(body[len(body) // 2 :])),
    ("gzip", lambda body: gzip.compress(body[:9]) + bytes(5) + gzip.compress(body[9:]) + bytes(512)),
    ("deflate", zlib.compress),
    ("deflate", bare_deflate),
]


@settings(deadline=None, max_examples=300)
@given(answers, st.lists(st.integers(0, 1 << 20), max_size=8), st.sampled_from(CODINGS))
def test_any_answer_in_any_pieces_and_any_coding_is_metered_exactly(answer, at, coding):
    name, encode = coding
    usage = read(answer, split(encode(answer.body), at), name)
    assert usage == Usage(answer.tokens, answer.model, answer.source, answer.error)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_corpus_has_answers_of_every_dialect(dialect):
    """Missing? Add answers of the new dialect to tests/hubs/usage/corpus.py."""
    found = find(
        answers, lambda answer: answer.dialect == dialect and answer.source == "hub", settings=settings(max_examples=5000, database=None)
    )
    assert found.pieces


@settings(deadline=None, max_examples=60)
@given(st.one_of(answers, hidden_failures()).filter(lambda answer: len(answer.body) < 3000))
def test_every_single_byte_boundary(answer):
    expected = Usage(answer.tokens, answer.model, answer.source, answer.error)
    assert read(answer, [bytes([byte]) for byte in answer.body]) == expected
    for at in range(len(answer.body)):
        assert read(answer, [answer.body[:at], answer.body[at:]]) == expected


@settings(deadline=None, max_examples=200)
@given(streams, st.data())
def test_a_stream_that_breaks_off_keeps_what_was_said(answer, data):
    whole = data.draw(st.integers(0, len(answer.pieces)))
    torn = answer.pieces[whole][: data.draw(st.integers(0, 40))] if whole < len(answer.pieces) else b""
    # A piece that lacks nothing but its line ends has been said.
    known = answer.seen[whole]
    usage = read(answer, [*answer.pieces[:whole], torn], complete=False)
    assert usage.tokens == (known or Tokens())
    assert usage.source == ("none" if known is None else "partial")
    assert usage.error == ""


@settings(deadline=None, max_examples=200)
@given(streams, st.data())
def test_an_error_in_the_middle_is_told_and_spoils_no_figure(answer, data):
    if answer.content_type != SSE:
        fault, label = dump({"error": "went wrong"}) + b"\n", "error_in_answer"
    else:
        fault, label = data.draw(
            st.sampled_from(
                [
                    (event({"error": {"message": "went wrong"}}), "error_in_answer"),
                    (event({"message": "went wrong"}, "error"), "error_event"),
                    (event(b"not json at all", "error"), "error_event"),
                ]
            )
        )
    whole = data.draw(st.integers(0, len(answer.pieces)))
    usage = read(answer, [*answer.pieces[:whole], fault])
    assert usage.error == label
    assert usage.tokens == (answer.seen[whole] or Tokens())


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(["none", *DIALECTS, "unheard-of"]),
    st.sampled_from([JSON, SSE, "application/x-ndjson", "", "text/plain", "text/html", "audio/mpeg"]),
    st.sampled_from(["", "gzip", "deflate", "br", "gzip, gzip", "x"]),
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [b'{"usage":', b'"usage":{"inputTokens":', b"-1", b"1e999", b'"x"', b"}}", b"\n\n", b"data: ", b"[", b"\\", b'"', b"null"]
            ),
        ),
        max_size=25,
    ),
    st.booleans(),
)
def test_garbage_never_raises(dialect, content_type, coding, chunks, complete):
    reader = open_reader(dialect, content_type, coding)
    for chunk in chunks:
        reader.feed(chunk)
    assert reader.finish(complete).source in ("none", "hub", "partial")


@pytest.mark.parametrize("value", [-1, -0.5, 1.5, "12", None, True, [], {}, 1 << 60, float("1e300")])
def test_a_figure_that_is_none_is_not_taken(value):
    body = dump({"usage": {"inputTokens": value, "outputTokens": 7}})
    usage = read(Answer("aigne-chat", JSON, (body,), Tokens()), [body])
    assert usage.tokens == Tokens(0, 7)


def test_a_whole_number_may_be_written_as_a_fraction():
    body = b'{"usage":{"inputTokens":12.0,"outputTokens":7}}'
    assert read(Answer("aigne-chat", JSON, (body,), Tokens()), [body]).tokens == Tokens(12, 7)


BOM = b"\xef\xbb\xbf"
LARGE = dump({"model": "m", "text": "a" * 100_000, "usage": {"prompt_tokens": 5, "completion_tokens": 9}})
HUGE = dump({"model": "m", "text": "a" * 400_000, "usage": {"prompt_tokens": 5, "completion_tokens": 9}})
SMALL = dump({"model": "m", "usage": {"prompt_tokens": 5, "completion_tokens": 9}})


@pytest.mark.parametrize("size", [1, 2, 1000, 1 << 16, 1 << 20])
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (SSE, BOM + b"data:" + LARGE + b"\n\n"),
        (SSE, BOM + b"event: message\r\ndata: " + LARGE + b"\r\n\r\n"),
        (SSE, BOM + b"data: " + SMALL + b"\n\n"),
        (JSON, BOM + SMALL),
        (JSON, BOM + HUGE),
        ("application/x-ndjson", BOM + SMALL + b"\n"),
        ("application/x-ndjson", BOM + LARGE + b"\n"),
    ],
)
def test_a_byte_order_mark_changes_nothing_in_any_pieces(content_type, body, size):
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    usage = read(Answer("openai", content_type, (body,), Tokens()), pieces)
    assert usage == Usage(Tokens(5, 9), "m", "hub", "")


@pytest.mark.parametrize("content_type", [JSON, SSE, "application/x-ndjson"])
@pytest.mark.parametrize(
    ("dialect", "member"), [("openai", "response"), ("anthropic", "message"), ("aigne-chat", "delta"), ("openai-images", "data")]
)
@pytest.mark.parametrize("value", ["text", 5, ["a"]])
def test_a_member_of_another_type_spoils_no_other(content_type, dialect, member, value):
    if isinstance(value, list) and member == "data":
        return
    body = dump({"model": "m", member: value, "usage": {"input_tokens": 5, "output_tokens": 9}})
    body = b"data: " + body + b"\n\n" if content_type == SSE else body
    usage = read(Answer(dialect, content_type, (body,), Tokens()), [body])
    assert (usage.tokens, usage.model, usage.source) == (Tokens(5, 9), "m", "hub")


NO_JSON = [b'"ab\\ud83d"', b"NaN", b"-Infinity", b'"a\x01b"', b'{"x":[Infinity]}', b"[" * 3000 + b"]" * 3000]
"""What some hubs send, and some of their clients read."""


@pytest.mark.parametrize("content_type", [JSON, SSE, "application/x-ndjson"])
@pytest.mark.parametrize("value", NO_JSON)
@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (b'{"text":%b,"usage":{"input_tokens":5,"output_tokens":9}}', Tokens(5, 9)),
        (b'{"model":%b,"usage":{"input_tokens":5,"output_tokens":9}}', Tokens(5, 9)),
        (b'{"usage":{"input_tokens":5,"cost":%b,"output_tokens":9}}', Tokens(5, 9)),
        (b'{"usage":{"input_tokens":%b,"output_tokens":9}}', Tokens(0, 9)),
        (b'{"usage":{"input_tokens":5,"output_tokens":9,"input_tokens_details":%b}}', Tokens(5, 9)),
    ],
)
def test_what_only_some_call_json_spoils_nothing_else(content_type, value, body, tokens):
    body = body % value
    body = b"data: " + body + b"\n\n" if content_type == SSE else body
    usage = read(Answer("openai", content_type, (body,), Tokens()), [body])
    assert (usage.tokens, usage.source, usage.error) == (tokens, "hub", "")


@pytest.mark.parametrize("value", [b'"ab\\ud83d"', b'{"message":NaN}', b"[" * 3000 + b"]" * 3000])
def test_an_error_that_only_some_call_json_is_one(value):
    body = b'{"error":%b,"usage":{"input_tokens":5}}' % value
    usage = read(Answer("openai", JSON, (body,), Tokens()), [body])
    assert (usage.tokens, usage.error) == (Tokens(5), "error_in_answer")


@pytest.mark.parametrize("content_type", [JSON, SSE, "application/x-ndjson"])
@pytest.mark.parametrize("dialect", ["openai", "anthropic", "aigne-chat"])
@pytest.mark.parametrize("value", [None, "text", 0, False, [], [{"input_tokens": 5}]])
def test_a_usage_that_is_none_hides_no_failure(content_type, dialect, value):
    body = dump({"usage": value, "error": {"message": "quota exceeded upstream"}, "model": "m"})
    body = b"data: " + body + b"\n\n" if content_type == SSE else body
    usage = read(Answer(dialect, content_type, (body,), Tokens()), [body])
    assert (usage.tokens, usage.model, usage.source, usage.error) == (Tokens(), "m", "none", "error_in_answer")


@pytest.mark.parametrize("value", ["", 0, []])
def test_a_usage_that_is_none_hides_no_pictures(value):
    body = dump({"data": [{"url": "a"}, {"url": "b"}], "usage": value})
    assert read(Answer("openai-images", JSON, (body,), Tokens()), [body]).tokens == Tokens(images=2)


@pytest.mark.parametrize(("read_name", "details"), [("input_tokens", "input_tokens_details"), ("prompt_tokens", "prompt_tokens_details")])
@pytest.mark.parametrize(("flat", "created"), [({}, 3207), ({"cache_creation_input_tokens": 9}, 9)])
def test_cache_writes_stand_among_the_details_too(read_name, details, flat, created):
    body = dump({"usage": {read_name: 3300, details: {"cached_tokens": 5, "cache_write_tokens": 3207}, **flat}})
    assert read(Answer("openai", JSON, (body,), Tokens()), [body]).tokens == Tokens(3300, 0, 5, created)


def test_later_usage_replaces_the_earlier_whole():
    body = event({"usage": {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 3}}})
    body += event({"usage": {"prompt_tokens": 5, "completion_tokens": 9}})
    assert read(Answer("openai", SSE, (body,), Tokens()), [body]).tokens == Tokens(5, 9)


@pytest.mark.parametrize("usage", [{}, None, {"cost": 0.5}])
def test_a_usage_without_figures_takes_none_back(usage):
    body = event({"usage": {"prompt_tokens": 5, "completion_tokens": 9}}) + event({"usage": usage})
    assert read(Answer("openai", SSE, (body,), Tokens()), [body]).tokens == Tokens(5, 9)


def test_a_total_alone_is_input():
    body = dump({"results": [], "usage": {"total_tokens": 42}})
    assert read(Answer("openai", JSON, (body,), Tokens()), [body]).tokens == Tokens(42)


def test_a_last_event_without_its_blank_line_counts():
    body = event({"usage": {"prompt_tokens": 5, "completion_tokens": 9}}).rstrip(b"\n")
    assert read(Answer("openai", SSE, (body,), Tokens()), [body]).tokens == Tokens(5, 9)


def test_thirty_megabytes_of_picture_are_metered_in_bounded_memory():
    picture = b"QUJD" * (1 << 14)
    reader = open_reader("aigne-image", JSON, "")
    tracemalloc.start()
    reader.feed(b'{"images":[{"type":"file","data":"')
    for _ in range(480):
        reader.feed(picture)
    reader.feed(
        b'","mimeType":"image/png"}],"usage":{"inputTokens":7,"outputTokens":1056,"aigneHubCredits":0.047},"modelWithProvider":"a/b"}'
    )
    usage = reader.finish(True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert usage == Usage(Tokens(7, 1056, 0, 0, 0.047, 1), "a/b", "hub", "")
    assert peak < 2 << 20


def test_a_decompression_bomb_is_left_alone():
    reader = open_reader("openai", JSON, "gzip")
    zeros = zlib.compressobj(wbits=31)
    tracemalloc.start()
    for _ in range(200):
        reader.feed(zeros.compress(bytes(1 << 20)))
    assert reader.finish(True).source == "none"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


def test_only_so_many_gzip_members_are_undone():
    body = dump({"usage": {"prompt_tokens": 5, "completion_tokens": 9}})
    for empty, source in ((MOST_MEMBERS - 1, "hub"), (MOST_MEMBERS, "none")):
        compressed = gzip.compress(b"") * empty + gzip.compress(body)
        assert read(Answer("openai", JSON, (body,), Tokens()), [compressed], "gzip").source == source


def test_an_endless_event_is_not_kept():
    reader = open_reader("openai", SSE, "")
    tracemalloc.start()
    for _ in range(300):
        reader.feed(b"data: " + b"x" * (1 << 16))
    for _ in range(300):
        reader.feed(b"y\n" * (1 << 14))
    reader.feed(b"\n" + event({"usage": {"prompt_tokens": 5}}))
    assert reader.finish(True).tokens == Tokens(5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 << 20
