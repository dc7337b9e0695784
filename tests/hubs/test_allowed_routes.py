from __future__ import annotations

import pytest

from sidecar.hubs.allowed_routes import allows, check_pattern
from sidecar.hubs.profile import Route

CHAT = Route(name="chat-completions", methods=("POST",), path="/api/v2/chat/completions", group="chat")
ACCOUNT = Route(name="user-info", methods=("GET",), path="/api/user/info", opt_in=True)
PATH = "/api/v2/chat/completions"


@pytest.mark.parametrize(
    ("patterns", "allowed"),
    [
        (None, True),
        ((), False),
        (("chat",), True),
        (("chat-completions",), True),
        (("image",), False),
        (("",), False),
        ((PATH,), True),
        ((f"POST {PATH}",), True),
        ((f"* {PATH}",), True),
        ((f"GET {PATH}",), False),
        (("/api/*/chat/completions",), True),
        (("/api/*/completions",), False),
        (("/api/v2/**",), True),
        (("/api/v2/chat/completions/**",), False),
        (("/**",), True),
        (("/api/v2/chat",), False),
        (("image", "/api/v2/*/completions"), True),
        (("/api/%762/**",), True),
        (("not a pattern",), False),
    ],
)
def test_allows(patterns, allowed):
    assert allows(patterns, "POST", PATH, CHAT) is allowed


def test_escapes_of_unreserved_characters_change_nothing():
    assert allows(("/api/v2/chat/completions",), "POST", "/api/v2/ch%61t/completions", CHAT)
    assert not allows(("/api/*/info",), "GET", "/api/a/b/info", ACCOUNT)


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [("/api/*/info", False), ("/api/*", False), ("/api/a%2Fb/*", True), ("/api/a%2Fb/info", True), ("/api/**", True), ("/**", True)],
)
def test_an_encoded_slash_leads_out_of_no_segment(pattern, allowed):
    assert allows((pattern,), "GET", "/api/a%2Fb/info", ACCOUNT) is allowed
    assert allows((pattern,), "GET", "/api/a%252Fb/info", ACCOUNT) is (allowed and "*" in pattern and "%" not in pattern)


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [("/v1/a:b", False), ("/v1/a%3Ab", True), ("/v1/a%3ab", True), ("/v1/*", True), ("/v1/a:b/**", False), ("/v1/%2A", False)],
)
def test_an_encoded_reserved_character_must_be_covered_as_sent_and_decoded(pattern, allowed):
    assert allows((pattern,), "GET", "/v1/a%3ab", ACCOUNT) is allowed


def test_head_goes_where_get_goes():
    assert allows(("GET /api/user/info",), "HEAD", "/api/user/info", ACCOUNT)
    assert not allows(("HEAD /api/user/info",), "GET", "/api/user/info", ACCOUNT)


@pytest.mark.parametrize(
    ("patterns", "allowed"),
    [(None, False), ((), False), (("user-info",), True), (("/api/user/info",), True), (("GET /api/user/**",), True)],
)
def test_an_opt_in_route_must_be_named(patterns, allowed):
    assert allows(patterns, "GET", "/api/user/info", ACCOUNT) is allowed


@pytest.mark.parametrize("text", ["chat", "image-generations", "/a", "POST /a/*/b", "GET /a/**", "* /a", "/**"])
def test_good_patterns(text):
    assert check_pattern(text) is None


@pytest.mark.parametrize("text", ["", "Chat", "a b", "post /a", "FETCH /a", "/a*", "/a/**/b", "POST  /a", "/a/../b", " /a", "POST a"])
def test_bad_patterns(text):
    assert check_pattern(text)
