"""Bytes that are nearly HTTP: hostile requests of the wire table, taken apart, mutated and put together again."""

from __future__ import annotations

import itertools
import re

from hypothesis import strategies as st

from tests.wire.cases import KEY, all_cases

TOKEN = b"ahk_0123456789012345678901234567890123456789012abcdef"
RAW = [case.raw.replace(KEY, TOKEN) for case in all_cases() if len(case.raw) < 3000]
PIECES = sorted({piece for raw in RAW for line in raw.split(b"\r\n")[:12] for piece in (line, line + b"\r\n") if len(piece) < 200})
NASTY = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\x00",
    b" ",
    b"\t",
    b":",
    b"\r\n\r\n",
    b"\xff",
    b"\xc3\xa9",
    b"%2e",
    b"%2f",
    b"%00",
    b"/",
    b"//",
    b"..",
    b"?",
    b"#",
    b";",
    b",",
    b"0",
    b"5",
    b"A",
]

chunks = st.one_of(st.sampled_from(NASTY), st.sampled_from(PIECES), st.binary(max_size=6))


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """One of `seeds` with up to four places replaced, doubled, removed or filled in."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 8)))
        middle = draw(st.one_of(chunks, st.just(b""), st.just(data[start:end] * 2)))
        data = data[:start] + middle + data[end:]
    return data


requests = st.one_of(mutated(RAW), st.lists(chunks, max_size=12).map(b"".join), st.binary(max_size=200))


def split(data: bytes, places: list[int]) -> list[bytes]:
    """`data` cut at `places`, which are taken modulo its length."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


cuts = st.lists(st.integers(0, 1 << 16), max_size=6)


def without_blanks(chunked: bytes) -> bytes:
    """A valid chunked body with none around `;` and `=` of its extensions: llhttp takes none, RFC 9110 5.6.3 says that one must."""
    tight, at = b"", 0
    while True:
        line, end, _ = chunked[at:].partition(b"\r\n")
        at += len(line + end)
        size = int(re.split(rb"[ \t;]", line)[0], 16)
        tight += re.sub(rb"[ \t]*([;=])[ \t]*", rb"\1", line) + end
        if not size:
            return tight + chunked[at:]
        tight += chunked[at : at + size + 2]
        at += size + 2
