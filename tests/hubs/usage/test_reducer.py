from __future__ import annotations

import itertools
import json
import time
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.hubs.usage import documents
from sidecar.hubs.usage.dialects import DIALECTS
from sidecar.hubs.usage.reducer import LARGEST_MEMBER, MOST_ELEMENTS, Reducer
from sidecar.hubs.usage.tally import Tally

READ = [each for each in vars(documents).values() if isinstance(each, type) and each.__module__ == documents.__name__]
MEMBERS = {name for each in READ if each not in (documents.Counts, documents.Usage) for name in each.__struct_fields__}
names = st.sampled_from([*sorted(MEMBERS), "inputTokens", "input_tokens", "x", 'q"'])
texts = st.sampled_from(["", 'a"b\\', "é", "{[", "m"])
leaves = st.one_of(st.none(), st.booleans(), st.integers(0, 1000), st.floats(0, 9, width=32), texts)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=5)),
    max_leaves=20,
)
garbage = st.sampled_from(
    [b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\", b'"usage"', b'{"usage":', b'"data":[', b"1", b" ", b"\xff", b"null"]
)


def reduced(document: bytes, at: list[int]) -> bytes:
    reducer = Reducer()
    edges = sorted({0, len(document), *(position % (len(document) + 1) for position in at)})
    for start, end in itertools.pairwise(edges):
        reducer.feed(document[start:end])
    return reducer.document()


def kept(tree: documents.Tree) -> set[str]:
    return {name for member, inner in tree.items() for name in (member, *(kept(inner) if isinstance(inner, dict) else ()))}


def test_all_that_a_dialect_reads_is_kept() -> None:
    assert kept(documents.WANTED) == MEMBERS, "make the structure of an answer a Document: what it reads is lost of large answers"


def read(dialect: str, document: bytes) -> Any:
    tally = Tally()
    DIALECTS[dialect].read(document, tally)
    return tally.usage(True)


@settings(deadline=None, max_examples=300)
@given(
    st.dictionaries(names, values, max_size=6),
    st.sampled_from(sorted(DIALECTS)),
    st.lists(st.integers(0, 500), max_size=12),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_what_is_left_reads_as_the_whole(document, dialect, at, indent, ascii_only):
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()
    try:
        whole = read(dialect, text)
    except msgspec.ValidationError:
        return
    assert read(dialect, reduced(text, at)) == whole


@given(st.dictionaries(names, values, max_size=5), st.lists(st.integers(0, 500), max_size=6))
def test_pieces_make_no_difference(document, at):
    text = json.dumps(document).encode()
    assert reduced(text, at) == reduced(text, []) == reduced(text, list(range(len(text))))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (b'{"usage":{"a":1},"usage":{"b":2}}', {"usage": {"b": 2}}),
        (b'{"delta":{"json":{"model":1}},"delta":{}}', {"delta": {}}),
        (b'{"mod\\u0065l":1}', {"model": 1}),
        (b'{"x":"\\"model\\":1","model":2}', {"model": 2}),
        (b'{"x":{"model":1}}', {}),
        (b'{"error":1,"model":"abc', {"error": 1}),
        (b'{"usage":1,"model":"abc"}', {"model": "abc"}),
        (b'{"usage":["a"],"model":"abc"}', {"model": "abc"}),
        (b'{"model":12', {}),
        (b'{"images":[{"a":[1,2]},"x",[],3],"data":[]}', {"images": [0, 0, 0, 0], "data": []}),
        (b'["usage"]', {}),
        (b"", {}),
        (b"   ", {}),
        (b"\xff\xfe", {}),
        (b'{"usage":{"a":1}}{"usage":2}', {"usage": {"a": 1}}),
        (b'{"model" 1}', {}),
        (b"{1}", {}),
    ],
)
def test_what_is_left(text, left):
    assert json.loads(reduced(text, [])) == left
    assert json.loads(reduced(text, list(range(len(text))))) == left


def test_members_and_lists_are_bounded():
    error = {"message": "e" * (2 * LARGEST_MEMBER)}
    text = json.dumps({"model": "m" * (LARGEST_MEMBER + 1), "error": error, "data": [1] * (2 * MOST_ELEMENTS)})
    left = json.loads(reduced(text.encode(), [5000, 9000]))
    assert left.keys() == {"error", "data"}
    assert left["error"] is True
    assert len(left["data"]) == MOST_ELEMENTS


@settings(deadline=None)
@given(st.lists(garbage, max_size=30))
def test_garbage_leaves_json(pieces):
    reducer = Reducer()
    for piece in pieces:
        reducer.feed(piece)
    assert isinstance(json.loads(reducer.document()), dict)


def test_escapes_are_walked_in_linear_time():
    reducer = Reducer()
    began = time.perf_counter()
    reducer.feed(b'{"x":"' + b'\\"' * 1_000_000 + b'","model":1}')
    assert json.loads(reducer.document()) == {"model": 1}
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize("beginning", [b'{"x":"', b'{"x":["', b'{"', b'{"usage":{"x":"'])
def test_escapes_take_no_memory(beginning: bytes) -> None:
    reducer, piece = Reducer(), b"\\n" * (1 << 19)
    reducer.feed(beginning)
    tracemalloc.start()
    try:
        reducer.feed(piece)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(piece)
    finally:
        tracemalloc.stop()
