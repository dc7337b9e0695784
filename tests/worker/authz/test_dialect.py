"""How each proxy words its question."""

from __future__ import annotations

import pytest

from sidecar.refusals import Refused
from sidecar.settings.declaration import Bounds
from sidecar.worker.authz.dialect import told_by
from sidecar.worker.client.head import HeadReader
from sidecar.worker.client.request_head import RequestHead


def head(line: str, *fields: str) -> RequestHead:
    return HeadReader(Bounds()).parse("\r\n".join([f"{line} HTTP/1.1", "Host: gw.test", *fields, "", ""]).encode())


@pytest.mark.parametrize(
    ("line", "fields", "method", "target"),
    [
        ("POST /envoy/api/v2/chat?a=1", [], b"POST", b"/api/v2/chat?a=1"),
        ("GET /envoy", [], b"GET", b"/"),
        ("GET /own/__blocklet__.js?type=json", [], b"GET", b"/__blocklet__.js?type=json"),
        ("GET /nginx", ["X-Original-Method: PUT", "X-Original-URI: /a?b=%20"], b"PUT", b"/a?b=%20"),
        ("GET /traefik/", ["X-Forwarded-Method: HEAD", "X-Forwarded-Uri: /a"], b"HEAD", b"/a"),
        ("GET /caddy", ["X-Forwarded-Method: GET", "X-Forwarded-Uri: /a"], b"GET", b"/a"),
    ],
)
def test_the_request_behind_the_question(line: str, fields: list[str], method: bytes, target: bytes) -> None:
    told = told_by(head(line, *fields), 8192)
    assert (told.method, told.target.raw) == (method, target)


@pytest.mark.parametrize(
    ("line", "fields", "code"),
    [
        ("GET /", [], "unknown_route"),
        ("GET /envoys/a", [], "unknown_route"),
        ("GET /nginx", [], "invalid_request"),
        ("GET /nginx", ["X-Original-Method: GET"], "invalid_request"),
        ("GET /nginx", ["X-Original-Method: GET", "X-Original-URI: /a", "X-Original-URI: /b"], "invalid_request"),
        ("GET /nginx", ["X-Forwarded-Method: GET", "X-Forwarded-Uri: /a"], "invalid_request"),
        ("GET /nginx", ["X-Original-Method: TRACE", "X-Original-URI: /a"], "method_not_allowed"),
        ("GET /nginx", ["X-Original-Method: get", "X-Original-URI: /a"], "method_not_allowed"),
        ("GET /caddy", ["X-Forwarded-Method: GET", "X-Forwarded-Uri: //a"], "invalid_request"),
        ("GET /caddy", ["X-Forwarded-Method: GET", "X-Forwarded-Uri: /a/../b"], "invalid_request"),
        ("GET /caddy", ["X-Forwarded-Method: GET", "X-Forwarded-Uri: /a%2f..%2fb"], "invalid_request"),
        ("GET /caddy", ["X-Forwarded-Method: GET", "X-Forwarded-Uri: a b"], "invalid_request"),
        ("GET /caddy", ["X-Forwarded-Method: GET", "X-Forwarded-Uri: http://evil.test/a"], "invalid_request"),
        ("GET /caddy", ["X-Forwarded-Method: GET", f"X-Forwarded-Uri: /{'a' * 9000}"], "target_too_long"),
    ],
)
def test_a_question_that_is_none(line: str, fields: list[str], code: str) -> None:
    with pytest.raises(Refused) as refused:
        told_by(head(line, *fields), 8192)
    assert refused.value.refusal.code == code


@pytest.mark.parametrize("letter", "$&+,/:;=@")
def test_caddy_must_not_decode_what_means_something_in_a_path(letter: str) -> None:
    fields = ["X-Forwarded-Method: GET", f"X-Forwarded-Uri: /a%{ord(letter):02x}b"]
    with pytest.raises(Refused) as refused:
        told_by(head("GET /caddy", *fields), 8192)
    assert refused.value.refusal.code == "invalid_request"
    assert told_by(head("GET /traefik", *fields), 8192).target.raw == f"/a%{ord(letter):02x}b".encode()


@pytest.mark.parametrize("raw", ["/a%20b%3F%25", "/a/b;c?d=%2F", "/%C3%A9%7E"])
def test_what_caddy_sends_on_alike_is_let_through(raw: str) -> None:
    assert told_by(head("GET /caddy", "X-Forwarded-Method: GET", f"X-Forwarded-Uri: {raw}"), 8192).target.raw == raw.encode()


def test_host_and_scheme_by_the_proxys_word() -> None:
    told = head("GET /caddy", "X-Forwarded-Method: GET", "X-Forwarded-Uri: /", "X-Forwarded-Host: hub.test", "X-Forwarded-Proto: https")
    assert told_by(told, 8192).host == b"hub.test" and told_by(told, 8192).scheme == "https"
    spoofed = head("GET /envoy/", "X-Forwarded-Host: hub.test", "X-Forwarded-Proto: gopher")
    assert told_by(spoofed, 8192).host == b"gw.test" and told_by(spoofed, 8192).scheme == "http"
