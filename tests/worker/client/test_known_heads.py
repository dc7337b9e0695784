"""Remembered forms: whatever was parsed before, a head is read as the strict reader alone reads it."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.refusals import Refused
from sidecar.settings.declaration import Bounds
from sidecar.worker.client import known_heads as module
from sidecar.worker.client.head import HeadReader
from sidecar.worker.client.known_heads import KnownHeads, Layout
from sidecar.worker.client.request_head import Field, RequestHead

BOUNDS = Bounds(headers=600, body=10_000)
VARY = (b"authorization", b"content-length", b"x-forwarded-for", b"x-request-id", b"traceparent")
TOKENS = st.sampled_from([b"ahk_one", b"ahk_another", b"a,b", b"a b", b"", b"x" * 513, b"\xff", b"a\x00b"])
LENGTHS = st.sampled_from([b"0", b"5", b"005", b"9999", b"10001", b"1" * 19, b"-1", b"5, 5", b" 5", b""])
LINES = st.sampled_from(
    [
        b"Host: gw.test",
        b"Host: other.test",
        b"Accept: */*",
        b"User-Agent: one",
        b"Connection: close",
        b"Connection: authorization",
        b"Transfer-Encoding: chunked",
        b"Cookie: session=secret",
        b"AUTHORIZATION: Bearer ahk_odd",
        b"Authorization: Basic eDp5",
        b"Content-length : 3",
        b"Expect: 100-continue",
        b"X-Forwarded-For: unknown",
        b"X-FORWARDED-FOR: 192.0.2.1",
        b"X-Request-Id: a b",
        b"Traceparent: nonsense",
        b"Bad line",
    ]
)
VARYING = st.one_of(
    st.builds(lambda name, token: name + token, st.sampled_from([b"Authorization: Bearer ", b"authorization: bearer "]), TOKENS),
    st.builds(lambda name, length: name + length, st.sampled_from([b"Content-Length: ", b"content-length: "]), LENGTHS),
    st.builds(
        lambda client: b"X-Forwarded-For: " + client, st.sampled_from([b"192.0.2.7", b"2001:db8::1", b"10.0.0.1, 192.0.2.7", b" 1 "])
    ),
    st.builds(lambda name: b"x-request-id: " + name, st.sampled_from([b"one", b"another", b""])),
    st.builds(lambda trace: b"traceparent: " + trace, st.sampled_from([b"00-ab-cd-01", b"00-ab-ef-01", b"00-AB"])),
)
HEADS = st.builds(
    lambda line, fields: b"\r\n".join([line, *fields, b"", b""]),
    st.sampled_from([b"POST /v1/x HTTP/1.1", b"GET /v1/x?access_token=1 HTTP/1.1", b"GET /v1/x HTTP/1.0", b"BREW /x HTTP/1.1"]),
    st.lists(st.one_of(LINES, VARYING), max_size=6),
)


def told(read: Any, head: bytes) -> Any:
    """Everything that a reader says of `head`."""
    try:
        parsed: RequestHead = read(head)
    except Refused as refused:
        return refused.refusal, refused.detail
    credentials = [value.partition(b" ")[2] for value in parsed.all(b"authorization")]
    passed = [(field.name, field.line if field.name not in VARY else b"", field.read) for field in parsed.fields]
    read_fields = {name: values for name, values in parsed.read.items() if name not in (b"authorization", b"content-length")}
    return (
        parsed.method, parsed.target, parsed.minor_version, passed, parsed.host, parsed.content_length, parsed.chunked,
        parsed.keep_alive, parsed.expects_continue, parsed.nominated, parsed.upgrade, credentials, read_fields,
    )  # fmt: skip


@given(st.lists(st.one_of(HEADS, st.tuples(HEADS, st.integers(2, 3))), max_size=8))
def test_a_head_is_read_alike_whatever_came_before(script: list[bytes | tuple[bytes, int]]) -> None:
    heads = KnownHeads(HeadReader(BOUNDS), BOUNDS)
    layouts: list[object] = [None]
    for step in script:
        head, times = step if isinstance(step, tuple) else (step, 1)
        for _ in range(times):
            strict = told(HeadReader(BOUNDS).parse, head)
            for layout in layouts:
                assert told(lambda head: heads.parse(head, layout), head) == strict  # noqa: B023  # called at once
            with contextlib.suppress(Refused):
                layouts.append(heads.parse(head, layouts[-1]).notes.layout)


@given(st.lists(st.one_of(LINES, VARYING), max_size=6), st.data())
def test_a_layout_finds_what_a_search_finds_or_nothing(fields: list[bytes], data: st.DataObject) -> None:
    heads, line = KnownHeads(HeadReader(BOUNDS), BOUNDS), b"POST /v1/x HTTP/1.1"
    written = b"\r\n".join([line, b"Host: gw.test", *fields, b"", b""])
    layout: object = None
    with contextlib.suppress(Refused):
        for _ in range(3):
            layout = heads.parse(written).notes.layout
    if not isinstance(layout, Layout):
        return
    at = data.draw(st.integers(0, len(written)))
    cut = data.draw(st.integers(0, 3))
    other = (
        written[:at]
        + data.draw(st.sampled_from([b"", b"\r", b"\r\n", b"0", b" ", b"a", b"x: 1\r\n", b"Content-Length: 7\r\n"]))
        + written[at + cut :]
    )
    found = layout.values(other)
    if found is not None:
        assert found == module._take(module._VARYING.split(other))


def test_a_client_that_writes_as_before_is_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = KnownHeads(HeadReader(BOUNDS), BOUNDS)
    heads.parse(head("ahk_a"))
    layout = heads.parse(head("ahk_b")).notes.layout
    monkeypatch.setattr(module, "_VARYING", None)
    parsed = heads.parse(head("ahk_c", 77), layout)
    assert (parsed.token, parsed.content_length, parsed.notes.layout) == (b"ahk_c", 77, layout)
    assert parsed.all(b"authorization") == [b"Bearer ahk_c"]


def head(token: str, length: int = 5, line: str = "X: 1") -> bytes:
    return f"POST /v1/x HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\n{line}\r\nContent-Length: {length}\r\n\r\n".encode()


def test_the_third_head_of_a_form_is_not_parsed_again() -> None:
    heads = KnownHeads(HeadReader(BOUNDS), BOUNDS)
    first = [heads.parse(head("ahk_a", 3)), heads.parse(head("ahk_b", 4))]
    third, fourth = heads.parse(head("ahk_c", 55)), heads.parse(head("ahk_d", 6))
    assert first[0].token is None and third.token == b"ahk_c" and fourth.token == b"ahk_d"
    assert third.notes is fourth.notes and third.fields is fourth.fields
    assert (third.content_length, fourth.content_length) == (55, 6)


@pytest.mark.parametrize(
    "fields", ["Authorization: Bearer {}", "Content-Length: {}", "A: 1\r\ncontent-length: {}\r\nB: 2\r\nauthorization: bearer {}"]
)
def test_a_form_may_vary_in_either_or_both(fields: str) -> None:
    heads, strict = KnownHeads(HeadReader(BOUNDS), BOUNDS), HeadReader(BOUNDS)
    read = []
    for value in (71, 72, 73, 74):
        raw = f"POST /v1/x HTTP/1.1\r\nHost: gw\r\n{fields.format(value, value)}\r\n\r\n".encode()
        read.append(heads.parse(raw))
        assert told(heads.parse, raw) == told(strict.parse, raw)
    assert read[2].notes is read[3].notes
    assert len(heads._forms) == 1


def test_who_asks_in_which_trace_makes_no_form_of_its_own() -> None:
    heads = KnownHeads(HeadReader(BOUNDS), BOUNDS)
    for number in range(5):
        line = f"x-forwarded-for: 192.0.2.{number}\r\ntraceparent: 00-{number:032}-{number:016}-01\r\nx-request-id: id{number}"
        parsed = heads.parse(head("ahk_a", line=line))
        assert parsed.all(b"x-forwarded-for") == [b"192.0.2.%d" % number]
        assert parsed.first(b"traceparent") == b"00-%032d-%016d-01" % (number, number)
    assert len(heads._forms) == 1 and parsed.token == b"ahk_a"
    assert not any(field.value for field in parsed.fields if field.name in VARY)


def test_a_form_is_kept_when_it_comes_again_and_nothing_of_it_is_secret() -> None:
    heads = KnownHeads(HeadReader(BOUNDS), BOUNDS)
    heads.parse(head("ahk_secret"))
    assert not heads._forms
    for _ in range(3):
        heads.parse(head("ahk_secret"))
        heads.parse(head("ahk_secret", line="Cookie: secret"))
        heads.parse(head("ahk_secret", line="Proxy-Authorization: Bearer secret"))
    (form,) = heads._forms.values()
    assert "secret" not in repr((list(heads._forms), {name: getattr(form, name) for name in RequestHead.__slots__}))
    layout = form.notes.layout
    assert isinstance(layout, Layout) and b"secret" not in layout._begin + b"".join(behind for _, _, behind in layout._places)
    assert form.token is None and b"authorization" not in form.read
    assert [field for field in form.fields if field.name == b"authorization"] == [Field(b"authorization", b"", b"", True)]


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_FORMS", 2)
    monkeypatch.setattr(module, "_MOST_SEEN", 3)
    heads = KnownHeads(HeadReader(BOUNDS), BOUNDS)
    sizes = []
    for number in range(4):
        for _ in range(2):
            heads.parse(head("ahk_a", line=f"X: {number}"))
        sizes.append((len(heads._seen), len(heads._forms)))
    assert sizes == [(1, 1), (2, 2), (3, 1), (1, 2)]


@pytest.mark.parametrize(("length", "kept"), [(2048, 1), (2049, 0)])
def test_a_long_form_is_not_kept(length: int, kept: int) -> None:
    heads = KnownHeads(HeadReader(Bounds()), Bounds())
    filling = length - len(head("ahk_a", line="X: "))
    for _ in range(3):
        heads.parse(head("ahk_a", line="X: " + "x" * filling))
    assert len(heads._forms) == kept


@pytest.mark.parametrize("length", [BOUNDS.body + 1, 10**17])
def test_a_known_form_with_too_long_a_body_is_refused(length: int) -> None:
    heads = KnownHeads(HeadReader(BOUNDS), BOUNDS)
    for _ in range(3):
        heads.parse(head("ahk_a"))
    with pytest.raises(Refused, match="request_too_large"):
        heads.parse(head("ahk_a", length))
