from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.hubs.load import load_profile
from sidecar.hubs.profile import Profile, Route
from sidecar.hubs.routing import Router, has_one_meaning, normalize
from sidecar.refusals import Refused

AIGNE = Router(load_profile("aigne"))
OPENAI = Router(load_profile("openai"))
GENERIC = Router(load_profile("generic"))


@pytest.mark.parametrize(
    ("router", "method", "path", "name", "hub_path"),
    [
        (AIGNE, "POST", "/api/v2/chat", "chat", "/api/v2/chat"),
        (AIGNE, "POST", "/api/%762/ch%61t", "chat", "/api/%762/ch%61t"),
        (AIGNE, "POST", "/api/v1/chat/completions", "chat-completions", "/api/v2/chat/completions"),
        (AIGNE, "POST", "/api/v1/completions", "completions", "/api/v2/completions"),
        (AIGNE, "POST", "/api/v1/image/generations", "image-generations", "/api/v2/image/generations"),
        (AIGNE, "POST", "/api/v1/image/generation%73", "image-generations", "/api/v2/image/generations"),
        (AIGNE, "GET", "/__blocklet__.js", "blocklet", "/__blocklet__.js"),
        (AIGNE, "HEAD", "/api/ai/models", "models", "/api/ai/models"),
        (AIGNE, "GET", "/api/usage/quota", "hub-usage", "/api/usage/quota"),
        (AIGNE, "GET", "/api/usage/projects/trends", "hub-usage", "/api/usage/projects/trends"),
        (OPENAI, "POST", "/chat/completions", "chat-completions", "/chat/completions"),
        (OPENAI, "POST", "/v1/responses/compact", "responses-compact", "/v1/responses/compact"),
        (OPENAI, "POST", "/responses/input_tokens", "responses-input-tokens", "/responses/input_tokens"),
        (OPENAI, "POST", "/v1/responses/resp_1/cancel", "stored-responses", "/v1/responses/resp_1/cancel"),
        (OPENAI, "GET", "/v1/models/openai%2Fgpt-4", "models", "/v1/models/openai%2Fgpt-4"),
        (OPENAI, "POST", "/api/generate", "ollama-generate", "/api/generate"),
        (OPENAI, "GET", "/v1/realtime", "realtime", "/v1/realtime"),
        (GENERIC, "DELETE", "/any/thing%20at;all", "any", "/any/thing%20at;all"),
        (GENERIC, "GET", "/", "any", "/"),
    ],
)
def test_what_is_forwarded(router, method, path, name, hub_path):
    matched = router.match(method, path)
    assert (matched.route.name, matched.hub_path) == (name, hub_path)


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/service/api/access-key",
        "/api/app/client/subscription/success",
        "/api/app/config",
        "/api/ai-providers",
        "/api/ai-providers/",
        "/api/ai-providers/health",
        "/api/migration/x",
        "/api/payment/callback",
        "/api/meilisearch/embeddings",
        "/api/did/x",
        "/websocket",
        "/api/v1/embeddings",
        "/api/v1/status",
        "/api/v1/audio/speech",
        "/api/v2/chat/",
        "/API/v2/chat",
        "/api/v2//chat",
        "/api/v2/chat%2Fcompletions",
        "/api/usage%2Fquota",
        "/api/usage/../app/config",
        "/api/usage/%2e%2e/app/config",
        "/api/usage/%252e%252e/app/config",
        "/api/usage/..;/app/config",
        "/api/usage/x%2f..%2f..%2fapp/config",
        "/api/usage//x",
        "/",
        "*",
        "",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_the_aigne_profile_never_forwards(path, method):
    with pytest.raises(Refused) as caught:
        AIGNE.match(method, path)
    assert caught.value.refusal.code == "unknown_route"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/api/v2/chat", "OPTIONS, POST"),
        ("POST", "/api/ai/models", "GET, HEAD, OPTIONS"),
        ("POST", "/api/usage/stats/backfill", "GET, HEAD, OPTIONS"),
    ],
)
def test_another_method_is_405_and_says_which_are_allowed(method, path, allow):
    with pytest.raises(Refused) as caught:
        AIGNE.match(method, path)
    assert caught.value.refusal.code == "method_not_allowed"
    assert caught.value.headers == (("allow", allow),)


@pytest.mark.parametrize(
    "path", ["/a/../b", "/..", "/a//b", "/a/%2e%2e", "/a\\..\\b", "/a/%5c../b", "/%00", "/a/.;x/b", "//evil.example/x"]
)
def test_even_generic_does_not_forward_a_path_with_two_meanings(path):
    with pytest.raises(Refused):
        GENERIC.match("GET", path)


def test_patterns_rewrites_and_order():
    router = Router(
        Profile(
            name="p",
            routes=(
                Route(name="deployment", methods=("POST",), path="/openai/*/chat"),
                Route(name="moved", methods=("GET",), path="/old/**", rewrite="/new/**"),
                Route(name="exact", methods=("GET",), path="/old/x"),
                Route(name="rest", methods=("*",), path="/**"),
            ),
        )
    )
    assert router.match("POST", "/openai/gpt%204/chat").route.name == "deployment"
    assert router.match("POST", "/openai/a/b/chat").route.name == "rest"
    assert router.match("GET", "/old/x").route.name == "exact"
    assert router.match("GET", "/%6fld/y/z%20").hub_path == "/new/y/z%20"
    assert router.match("PUT", "/old/y").route.name == "rest"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin%2Fkeys"),
        ("GET", "/admin%252fkeys"),
        ("POST", "/v1%2Fchat"),
        ("GET", "/files/x%2Fcontent"),
        ("GET", "/files/x%25252Fcontent"),
    ],
)
def test_an_encoded_slash_leads_past_no_route(method, path):
    routes = (
        Route(name="admin", methods=("GET",), path="/admin/**", opt_in=True),
        Route(name="chat", methods=("POST",), path="/v1/chat", model=("json:model",)),
        Route(name="files", methods=("GET",), path="/files/*"),
        Route(name="rest", methods=("*",), path="/**"),
    )
    router = Router(Profile(name="p", routes=routes))
    with pytest.raises(Refused) as caught:
        router.match(method, path)
    assert caught.value.refusal.code == "unknown_route"
    assert router.match("PUT", path).route.name == "rest"
    assert router.match(method, "/any%2Fthing").route.name == "rest"


@pytest.mark.parametrize(
    "path",
    ["/v1/models%3Apull", "/v1/models%3apull", "/v1/models%253Apull", "/v1/gen%2Cx/a", "/v1/x%40y/keys", "/v1/caf%25C3%25A9"],
)
def test_an_encoded_reserved_character_leads_past_no_route(path):
    routes = (
        Route(name="pull", methods=("POST",), path="/v1/models:pull", opt_in=True),
        Route(name="cafe", methods=("POST",), path="/v1/caf%C3%A9", opt_in=True),
        Route(name="generate", methods=("POST",), path="/v1/gen,x/**", model=("json:model",)),
        Route(name="mail", methods=("POST",), path="/v1/x@y/**"),
        Route(name="rest", methods=("*",), path="/v1/**"),
    )
    router = Router(Profile(name="p", routes=routes))
    with pytest.raises(Refused) as caught:
        router.match("POST", path)
    assert caught.value.refusal.code == "unknown_route"
    assert router.match("PUT", path).route.name == "rest"
    assert router.match("POST", "/v1/any%3Athing%20else").route.name == "rest"


@pytest.mark.parametrize(
    "path",
    [
        "/api/chat/",
        "/api/Chat",
        "/API/chat",
        "/api/ch%2561t/",
        "/api/me/",
        "/api/ME",
        "/api/x/Chat",
        "/api/x/chat/",
        "/api/Admin/a",
        "/api/tea",
    ],
)
def test_other_capitals_and_a_slash_at_the_end_lead_past_no_route(path):
    """Express takes all of these for the route itself, so does ASP.NET for the capitals."""
    routes = (
        Route(name="rooms", methods=("POST",), path="/api/*/chat", model=("json:model",)),
        Route(name="admin", methods=("POST",), path="/api/admin/**", opt_in=True),
        Route(name="rest", methods=("*",), path="/api/**", aliases=("/**", "/api/open")),
        Route(name="chat", methods=("POST",), path="/api/chat", model=("json:model",)),
        Route(name="me", methods=("POST",), path="/api/me", opt_in=True),
        Route(name="tea", methods=("POST",), path="/api/tea/"),
    )
    router = Router(Profile(name="p", routes=routes))
    with pytest.raises(Refused) as caught:
        router.match("POST", path)
    assert caught.value.refusal.code == "unknown_route"
    assert router.match("PUT", path).route.name == "rest", "no other route takes this method"
    for harmless in ("/api/any/", "/api/Any", "/api/open/", "/api/Open", "/api/chats", "/api/chat/x", "/api/%C3%84"):
        assert router.match("POST", harmless).route.name == "rest"


@pytest.mark.parametrize("path", ["/v1/a%2Bb", "/v1/A%2bb", "/v1/X", "/v1/x/"])
def test_a_route_for_every_method_is_passed_by_in_no_spelling(path):
    """Nor one that capitals alone tell from a route which takes all the rest."""
    routes = (
        Route(name="wide", methods=("*",), path="/v1/A+b", aliases=("/v1/**",)),
        Route(name="narrow", methods=("*",), path="/v1/a+b", opt_in=True),
        Route(name="x", methods=("*",), path="/v1/x"),
    )
    router = Router(Profile(name="p", routes=routes))
    with pytest.raises(Refused) as caught:
        router.match("POST", path)
    assert caught.value.refusal.code == "unknown_route"
    assert [router.match("POST", f"/v1/{name}").route.name for name in ("A+b", "a+b", "x", "y")] == ["wide", "narrow", "x", "wide"]


@pytest.mark.parametrize("path", ["/api/chat;x", "/api/chat;x=1/", "/api;v=2/chat", "/api/;x/chat", "/api/admin;x/a", "/;x/api/chat"])
def test_a_semicolon_leads_past_no_route(path):
    """Java's servers cut a segment there, and take an empty one away."""
    routes = (
        Route(name="chat", methods=("POST",), path="/api/chat", model=("json:model",)),
        Route(name="admin", methods=("POST",), path="/api/admin/**", opt_in=True),
        Route(name="rest", methods=("*",), path="/**"),
    )
    router = Router(Profile(name="p", routes=routes))
    with pytest.raises(Refused) as caught:
        router.match("POST", path)
    assert caught.value.refusal.code == "unknown_route"
    assert router.match("PUT", path).route.name == "rest"
    assert router.match("POST", "/api/admin/;x/a").route.name == "admin", "to everybody"
    assert router.match("POST", "/api/any;x/thing;y=1").route.name == "rest"


@pytest.mark.parametrize("path", ["/v1/responses/", "/v1/responses/Compact", "/v1/responses/compact/", "/responses/input_tokens/"])
def test_no_inference_goes_by_as_a_stored_answer(path):
    with pytest.raises(Refused) as caught:
        OPENAI.match("POST", path)
    assert caught.value.refusal.code == "unknown_route"
    assert OPENAI.match("POST", "/v1/responses/resp_Compact/cancel").route.name == "stored-responses"
    assert OPENAI.match("GET", "/v1/models/").route.name == "models"


def test_escapes_are_compared_in_either_case():
    routes = (
        Route(name="cafe", methods=("POST",), path="/v1/caf%C3%A9", opt_in=True),
        Route(name="exact", methods=("POST",), path="/v1/%54H%c3%a9"),
        Route(name="tea", methods=("POST",), path="/v1/th%c3%a9/*"),
        Route(name="star", methods=("POST",), path="/v1/%2a/*"),
        Route(name="rest", methods=("*",), path="/v1/**"),
    )
    router = Router(Profile(name="p", routes=routes))
    for path in ("/v1/caf%C3%A9", "/v1/caf%c3%a9", "/v1/caf%C3%a9"):
        matched = router.match("POST", path)
        assert (matched.route.name, matched.hub_path) == ("cafe", path)
    matched = router.match("POST", "/v1/TH%C3%A9")
    assert (matched.route.name, matched.hub_path) == ("exact", "/v1/TH%C3%A9"), "as it was sent, not as the profile writes it"
    for path in ("/v1/th%C3%A9/x", "/v1/th%c3%A9/x"):
        assert router.match("POST", path).route.name == "tea"
    assert router.match("POST", "/v1/%2A/x").route.name == "star"
    assert router.match("POST", "/v1/x/x").route.name == "rest", "an encoded asterisk is no pattern"


def test_a_pattern_may_itself_be_written_with_escapes():
    router = Router(Profile(name="p", routes=(Route(name="group", methods=("GET",), path="/%70rojects/a%2Fb/*"),)))
    assert router.match("GET", "/projects/a%2Fb/x").route.name == "group"


@given(st.text("/.%2e5cf;a\\", max_size=20))
def test_what_has_one_meaning_has_no_way_up(tail):
    path = f"/{tail}"
    if has_one_meaning(path):
        assert "/../" not in path + "/"
        assert "//" not in path


def test_only_unreserved_characters_are_decoded_for_comparison():
    assert normalize("/%61%2F%7e%2D%5f%41%3A%2E%25%20") == "/a%2F~-_A%3A.%25%20"
    every = "".join(f"%{code:02X}" for code in range(256))
    decoded = {character for character in normalize(every).replace("%", "") if normalize(f"%{ord(character):02x}") == character}
    assert decoded == set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def test_a_look_up_keeps_its_refusal():
    assert AIGNE.look_up("POST", "/api/v2/chat") == (AIGNE.match("POST", "/api/v2/chat"), None)
    matched, refused = AIGNE.look_up("POST", "/api/v9/chat")
    assert matched is None and refused.refusal.code == "unknown_route"
