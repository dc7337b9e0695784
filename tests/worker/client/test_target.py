"""What a request target may be; the same is seen from outside in tests/wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.refusals import INVALID_REQUEST, Refused
from sidecar.worker.client.target import Target, parse_target

HOST = b"gw.test:8080"


@pytest.mark.parametrize(
    ("raw", "path", "query"),
    [
        (b"/", b"/", None),
        (b"/a/b-c/", b"/a/b-c/", None),
        (b"/a?", b"/a", b""),
        (b"/a?b=c?d/e&ids[]=1", b"/a", b"b=c?d/e&ids[]=1"),
        (b"/%61/%2e%2e.x/a.b/..c/c..", b"/%61/%2e%2e.x/a.b/..c/c..", None),
        (b"/.well-known/x", b"/.well-known/x", None),
        (b"/a%2fb", b"/a%2fb", None),
        (b"/a;v=1/b:c@d", b"/a;v=1/b:c@d", None),
        (b"/a?x=//../%2e%5c", b"/a", b"x=//../%2e%5c"),
        (b"http://gw.test:8080/a?b", b"/a", b"b"),
        (b"HTTPS://GW.Test:8080/a", b"/a", None),
        (b"http://gw.test:8080", b"/", None),
        (b"http://gw.test:8080?b", b"/", b"b"),
    ],
)
def test_good_targets_go_on_byte_for_byte(raw: bytes, path: bytes, query: bytes | None) -> None:
    target = parse_target(b"POST", raw, HOST)
    assert target == Target(path, query)
    assert target.raw == path + (b"" if query is None else b"?" + query)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"a", b"*", b"?", b"//", b"//a", b"/a//b", b"/a/%2fb", b"/a%2F/b", b"/.", b"/..", b"/./a", b"/a/../b", b"/a/..", b"/%2e", b"/%2E%2e/a",
        b"/a/.%2e/b", b"/a%2f..%2fb", b"/a%2F%2E%2E", b"/..;x/a", b"/.;/a", b"/a/%2e%2e;x=1", b"/a\\b", b"/a%5cb", b"/a%5Cb", b"/a%00", b"/%00",
        b"/a?%00", b"/a b", b"/a?b c", b"/a#b", b"/a?b#c", b"/%zz", b"/%2", b"/a?%", b"/\xc3\xa9", b"/a?\xff", b"/<a>", b"/a\x00", b"/{a}", b'/"',
        b"http://other.test/a", b"http://gw.test/a", b"http://a@gw.test:8080/", b"ftp://gw.test:8080/", b"http:///a", b"http://",
        b"http://gw.test:8080/../a", b"http://gw.test:8080//a", b"gw.test:8080",
    ],
)  # fmt: skip
def test_what_could_mean_two_things_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused) as refused:
        parse_target(b"POST", raw, HOST)
    assert refused.value.refusal is INVALID_REQUEST


def test_only_options_asks_for_everything() -> None:
    assert parse_target(b"OPTIONS", b"*", HOST) == Target(b"*", None)
    with pytest.raises(Refused):
        parse_target(b"OPTIONS", b"**", HOST)


def test_without_a_host_the_absolute_form_names_it() -> None:
    assert parse_target(b"GET", b"http://any.test/a", b"") == Target(b"/a", None)


@given(st.binary(max_size=30))
def test_what_passes_passes_unchanged_and_has_no_second_meaning(rest: bytes) -> None:
    try:
        target = parse_target(b"GET", b"/" + rest, HOST)
    except Refused:
        return
    assert target.raw == b"/" + rest
    plain = target.path.lower().replace(b"%2e", b".").replace(b"%2f", b"/")
    assert b"//" not in plain and not {b".", b".."} & {segment.partition(b";")[0] for segment in plain.split(b"/")}
    assert not set(target.raw) & set(b' \\#<>"{}\x00\t\r\n\x7f') and b"%00" not in target.raw
