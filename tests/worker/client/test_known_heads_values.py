"""What a form lets vary: exactly what the strict reader takes as a plain value, found by a layout as by a search."""

from __future__ import annotations

import itertools

import pytest

from sidecar.settings.declaration import Bounds
from sidecar.worker.client import known_heads as module
from sidecar.worker.client.head import HeadReader
from sidecar.worker.client.known_heads import KnownHeads, Layout

BOUNDS = Bounds()
NAMES = {0: b"Authorization: Bearer ", 1: b"Content-Length: ", 2: b"X-Forwarded-For: ", 3: b"Traceparent: ", 4: b"X-Request-Id: "}
GOOD = {
    0: [b"a", b"a+b", b"x" * 512, b"!~"],
    1: [b"0", b"77", b"9" * 18],
    2: [b"1", b"192.0.2.7", b"2001:db8::1, 10.0.0.1", b"f" + b"1" * 200 + b":"],
    3: [b"0", b"00-ab-cd-01", b"f" * 64],
    4: [b"x", b"a,b", b"x" * 128],
}
BAD = {
    0: [b"", b"a,b", b"a b", b"x" * 513, b"a\x00", b"\xff", b" "],
    1: [b"", b"1" * 19, b"-1", b"1a", b"0x1", b"a", b" 1"],
    2: [b"", b"unknown", b" 1", b"1 ", b",1", b"1,", b"f" + b"1" * 201 + b":"],
    3: [b"", b"AB", b"0g", b"f" * 65, b"0 "],
    4: [b"", b"a b", b"x" * 129, b"\x7f"],
}
"""By the place of the name; a value beside each of these is not plain, or not for this field."""


def written(*fields: tuple[int, bytes]) -> bytes:
    lines = [NAMES[kind] + value for kind, value in fields]
    return b"\r\n".join([b"POST /v1/x HTTP/1.1", b"Host: gw", *lines, b"Accept: */*", b"", b""])


def layout_of(*kinds: int) -> Layout:
    """The layout of a client that sends these fields."""
    heads, head = KnownHeads(HeadReader(BOUNDS), BOUNDS), written(*((kind, GOOD[kind][0]) for kind in kinds))
    for _ in range(3):
        layout = heads.parse(head).notes.layout
    assert isinstance(layout, Layout)
    return layout


@pytest.mark.parametrize("kind", NAMES)
def test_a_value_is_taken_when_it_is_plain_and_by_nobody_else(kind: int) -> None:
    layout = layout_of(kind)
    for value in GOOD[kind]:
        head = written((kind, value))
        expected = [value if place == kind else None for place in NAMES]
        assert layout.values(head) == module._take(module._VARYING.split(head)) == expected
    for value in BAD[kind]:
        head = written((kind, value))
        assert layout.values(head) is None
        assert module._take(module._VARYING.split(head)) == [None] * len(NAMES), "the field is a part of the form then"


@pytest.mark.parametrize("kinds", [*itertools.permutations(NAMES, 2), *itertools.permutations(NAMES, 3)])
def test_each_value_finds_its_field_in_any_order(kinds: tuple[int, ...]) -> None:
    layout = layout_of(*kinds)
    head = written(*((kind, GOOD[kind][-1]) for kind in kinds))
    expected = [GOOD[place][-1] if place in kinds else None for place in NAMES]
    assert layout.values(head) == module._take(module._VARYING.split(head)) == expected


@pytest.mark.parametrize("kind", NAMES)
def test_a_field_that_comes_twice_is_for_the_strict_reader(kind: int) -> None:
    for other in NAMES:
        fields = [(kind, GOOD[kind][0]), (other, GOOD[other][0]), (kind, GOOD[kind][-1])]
        assert module._take(module._VARYING.split(written(*fields))) is None
    assert module._take(module._VARYING.split(written((kind, GOOD[kind][0]), (kind, GOOD[kind][0])))) is None


@pytest.mark.parametrize("kinds", [(2,), (3,), (2, 3), (0, 2), (1, 3)])
def test_readers_see_the_values_of_this_head(kinds: tuple[int, ...]) -> None:
    heads, strict = KnownHeads(HeadReader(BOUNDS), BOUNDS), HeadReader(BOUNDS)
    for round_ in range(4):
        head = written(*((kind, GOOD[kind][round_ % 2]) for kind in kinds))
        found, expected = heads.parse(head), strict.parse(head)
        for name in (b"x-forwarded-for", b"traceparent"):
            assert found.all(name) == expected.all(name)
        assert (found.content_length, found.all(b"authorization")) == (expected.content_length, expected.all(b"authorization"))


def test_forms_and_what_was_seen_once_are_bounded_as_they_are_made() -> None:
    heads = KnownHeads(HeadReader(BOUNDS), BOUNDS)
    once = [b"GET /%d HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer a\r\n\r\n" % number for number in range(4097)]
    for head in once[:512]:
        heads.parse(head)
        heads.parse(head)
    assert len(heads._forms) == 512
    heads.parse(once[512])
    heads.parse(once[512])
    assert len(heads._forms) == 1
    for head in once[513:4096]:
        heads.parse(head)
    assert len(heads._seen) == 4096
    heads.parse(once[4096])
    assert len(heads._seen) == 1
