"""Questions from the socket to the event."""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest

from sidecar.keys.record import Limits
from sidecar.limits.decision import Admission, Window
from sidecar.store.errors import StoreUnavailable
from tests.worker.authz.conftest import Site

NGINX = {"X_Original_Method": "POST", "X_Original_URI": "/api/v2/chat"}


async def test_a_question_leaves_one_event_that_says_what_is_not_known(site: Site) -> None:
    answer = await site.ask("/envoy/api/v2/chat?x=1", method="POST", X_Forwarded_For="203.0.113.7", User_Agent="app/1")
    assert answer.status == 200 and answer.fields["authorization"] == "Bearer hub-key"
    (event,) = site.events.requests
    assert (event.outcome, event.status, event.hub_status, event.ending, event.usage_source) == ("ok", 200, 0, "checked", "none")
    assert (event.method, event.path, event.route, event.client, event.agent) == ("POST", "/api/v2/chat", "chat", "203.0.113.7", "app/1")
    assert event.request_id == answer.fields["x-request-id"] and event.key_id.startswith("key_")


@pytest.mark.parametrize(("target", "method", "model"), [("status?model=a", "GET", "a"), ("chat?model=a", "POST", "")])
async def test_a_model_in_the_query_is_recorded_where_no_body_can_name_another(site: Site, target: str, method: str, model: str) -> None:
    assert (await site.ask(f"/envoy/api/v2/{target}", method=method)).status == 200
    assert site.events.requests[0].model == model


async def test_questions_of_one_form_differ_in_key_client_and_trace(site: Site) -> None:
    keys = [site.key, "ahk_nobody", site.keys.issue(), site.key]
    for number, key in enumerate(keys):
        fields = {"X_Forwarded_For": f"203.0.113.{number}", "Traceparent": f"00-{number + 1:032}-{number + 1:016}-01", "Cookie": "a=b"}
        answer = await site.ask("/envoy/api/v2/chat", method="POST", key=key, **fields)
        event = site.events.requests[-1]
        assert (event.client, event.trace_id, event.path) == (f"203.0.113.{number}", f"{number + 1:032}", "/api/v2/chat")
        assert answer.status == (401 if key == "ahk_nobody" else 200)
        if answer.status == 200:
            assert answer.fields["x-forwarded-for"] == event.client and event.trace_id in answer.fields["traceparent"]
            assert answer.fields["x-envoy-auth-headers-to-remove"] == "cookie"
    assert len({event.key_id for event in site.events.requests}) == 3


@pytest.mark.parametrize("target", ["/envoy/api/v2/chat", "/envoy/api/v2/audio/speech"])
async def test_a_request_is_named_once_whether_or_not_the_hub_is_told(site: Site, target: str) -> None:
    answer = await site.ask(target, method="POST")
    assert answer.raw.lower().count(b"x-request-id:") == 1 and answer.fields["x-request-id"] == site.events.requests[0].request_id


async def test_envoy_is_told_nothing_that_it_knows_better(site: Site) -> None:
    answer = await site.ask("/envoy/api/v2/chat", method="POST", Via="1.1 somebody", Accept_Encoding="gzip")
    assert not {"via", "accept-encoding", "cache-control"} & answer.fields.keys()
    removed = set(answer.fields["x-envoy-auth-headers-to-remove"].split(","))
    assert "accept-encoding" in removed and "via" not in removed
    assert (await site.ask("/nginx", **NGINX)).fields["via"].startswith("1.1 sidecar-")


async def test_what_the_hub_must_not_get_is_named(site: Site) -> None:
    answer = await site.ask("/envoy/api/v2/chat", method="POST", X_User_Did="admin", Cookie="a=b", Accept="*/*", Connection="close, accept")
    dropped = set(answer.fields["x-envoy-auth-headers-to-remove"].split(","))
    assert {"x-user-did", "cookie", "accept"} <= dropped
    assert not dropped & {"authorization", "host", "connection", "content-length", "x-request-id", "x-aigne-hub-client-did"}


async def test_what_is_dropped_is_right_for_each_request_of_a_form(site: Site) -> None:
    """Heads that differ in nothing but their trace are of one form, whose names are worked out once."""
    for parent in ("no-trace", "00-" + "a" * 32 + "-" + "b" * 16 + "-01") * 3:
        answer = await site.ask("/envoy/api/v2/chat", method="POST", Traceparent=parent, Tracestate="vendor=1")
        dropped = answer.fields.get("x-envoy-auth-headers-to-remove", "").split(",")
        assert ("tracestate" in dropped) is (parent == "no-trace") and "traceparent" not in dropped


@pytest.mark.parametrize("environment", [{"SIDECAR_PROXY__LISTEN": "unix:///run/authz.sock"}])
async def test_an_address_that_only_some_requests_of_a_form_have_is_taken_from_the_others(site: Site, tmp_path: Path) -> None:
    site.path = tmp_path / "authz.sock"
    server = await asyncio.get_running_loop().create_unix_server(site.plane.connection, site.path)
    for address in ("192.0.2.7", "nonsense", "dead") * 3:
        answer = await site.ask("/envoy/api/v2/status", X_Forwarded_For=address, X_Real_IP="198.51.100.6")
        dropped = set(answer.fields.get("x-envoy-auth-headers-to-remove", "").split(","))
        told = answer.fields.get("x-real-ip")
        assert (told, "x-real-ip" in dropped) == (("192.0.2.7", False) if address == "192.0.2.7" else (None, True))
    server.close()


async def test_a_public_route_gets_no_identity_and_loses_a_clients_own(site: Site) -> None:
    answer = await site.ask("/envoy/api/ai/models", key="", X_Aigne_Hub_Client_Did="admin")
    assert answer.status == 200 and "x-aigne-hub-client-did" not in answer.fields
    assert "x-aigne-hub-client-did" in answer.fields["x-envoy-auth-headers-to-remove"]


@pytest.mark.parametrize("query", ["token=t", "x=1;login_token=t", "a&login%5Ftoken=t", "Login_Token=t"])
async def test_a_credential_in_a_query_that_goes_on_as_it_is_is_refused(site: Site, query: str) -> None:
    answer = await site.ask(f"/envoy/api/v2/status?{query}")
    assert answer.status == 400 and b"no credential in the query" in answer.raw


ASKED = {"X_Original_Method": "GET", "X_Original_URI": "/api/v2/status", "X_Forwarded_Method": "GET", "X_Forwarded_Uri": "/api/v2/status"}


@pytest.mark.parametrize("question", ["/envoy/api/v2/status?mine={key}", "/traefik"])
async def test_a_key_in_a_query_that_goes_on_as_it_is_is_refused(site: Site, question: str) -> None:
    fields = ASKED | {"X_Forwarded_Uri": f"/api/v2/status?a=1&mine={site.key}"} if question == "/traefik" else {}
    answer = await site.ask(question.format(key=site.key), **fields)
    assert answer.status == 400 and b"no credential in the query" in answer.raw


async def test_nginx_and_caddy_are_told_the_target(site: Site) -> None:
    uri = "/api/v1/completions?token=t&a=%20"
    answer = await site.ask("/nginx", X_Original_Method="POST", X_Original_URI=uri)
    assert answer.fields["x-sidecar-target"] == "/mount/api/v2/completions?a=%20"
    answer = await site.ask("/caddy", X_Forwarded_Method="POST", X_Forwarded_Uri=uri)
    assert answer.fields["x-sidecar-target"] == "/mount/api/v2/completions?a=%20"
    assert (await site.ask("/traefik", X_Forwarded_Method="POST", X_Forwarded_Uri=uri)).status == 400


@pytest.mark.parametrize("path", ["/own/api/v2/chat", "/own/api/ai/models"])
async def test_the_sidecars_own_answers_never_let_anything_through(site: Site, path: str) -> None:
    assert (await site.ask(path, method="POST" if "chat" in path else "GET")).status == 404


async def test_preflights_and_pages(site: Site) -> None:
    assert (await site.ask("/own/api/v2/chat", method="OPTIONS", key="")).status == 204
    assert (await site.ask("/own/__blocklet__.js?type=json", key="")).status == 200
    assert (await site.ask("/envoy/api/v2/chat", method="OPTIONS", key="")).status == 404, "a 2xx would let it pass"
    packed = await site.ask("/nginx", key="", X_Original_Method="OPTIONS", X_Original_URI="/api/v2/chat")
    assert packed.status == 403
    answer = await site.ask("/nginx/answer", key="", X_Sidecar_Answer=packed.fields["x-sidecar-answer"])
    assert answer.status == 204
    count = len(site.events.requests)
    assert (await site.ask("/nginx/answer", key="", X_Sidecar_Answer="bm9uc2Vuc2U=")).status == 403
    assert len(site.events.requests) == count + 1, "fetching an answer is no request of a client's"


async def test_refusals_for_nginx_keep_status_and_code(site: Site) -> None:
    answer = await site.ask("/nginx", key="ahk_nobody", **NGINX)
    assert answer.status == 401
    whole = urlsafe_b64decode(answer.fields["x-sidecar-answer"])
    assert whole.startswith(b"HTTP/1.1 401 ") and json.loads(whole.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("told", "status", "code"),
    [
        ({"X_Original_Method": "PROPFIND", "X_Original_URI": "/"}, b"405", "method_not_allowed"),
        ({"X_Original_Method": "GET", "X_Original_URI": "//api"}, b"400", "invalid_request"),
        ({"X_Original_Method": "GET", "X_Original_URI": "/" + "a" * 8192}, b"414", "target_too_long"),
        ({"X_Original_Method": "GET"}, b"400", "invalid_request"),
    ],
)
async def test_what_nginx_tells_and_cannot_be_read_keeps_status_and_code(
    site: Site, told: dict[str, str], status: bytes, code: str
) -> None:
    answer = await site.ask("/nginx", **told)
    assert answer.status == 403, "of all else nginx makes 500"
    whole = urlsafe_b64decode(answer.fields["x-sidecar-answer"])
    assert whole.split(b" ")[1] == status and json.loads(whole.partition(b"\r\n\r\n")[2])["error"]["code"] == code


@pytest.mark.parametrize(("method", "path", "status"), [("OPTIONS", "api/v2/chat", 204), ("POST", "__blocklet__.js", 401)])
async def test_a_body_that_nobody_needs_is_not_waited_for(site: Site, method: str, path: str, status: int) -> None:
    answer = await site.ask(f"/own/{path}", method=method, key="", Content_Length="30000000", Connection="keep-alive")
    assert answer.status == status and answer.fields["connection"] == "close"


async def test_the_last_answer_on_a_connection_says_so(site: Site) -> None:
    """Else a proxy that keeps connections may put the question of somebody else there."""
    unreadable = await site.ask("/envoy/api/v2/chat", X_Name="\x7f", Connection="keep-alive")
    assert unreadable.status == 400 and unreadable.fields["connection"] == "close"
    site.plane.front.draining = True
    drained = await site.ask("/envoy/api/v2/chat", method="POST", Connection="keep-alive")
    assert drained.status == 200 and drained.fields["connection"] == "close"


@pytest.mark.parametrize("path", ["/api/%76%31/completions", "/api/v1/complet%69ons"])
async def test_a_path_that_a_proxy_would_not_rewrite_is_refused(site: Site, path: str) -> None:
    assert (await site.ask(f"/envoy{path}", method="POST")).status == 404
    assert (await site.ask("/traefik", X_Forwarded_Method="POST", X_Forwarded_Uri=path)).status == 404
    answer = await site.ask("/nginx", X_Original_Method="POST", X_Original_URI=path)
    assert answer.fields["x-sidecar-target"] == "/mount/api/v2/completions"


async def test_a_store_that_is_away_is_503_and_never_401(site: Site) -> None:
    site.keys.cold.add(site.key.encode())
    site.keys.away = True
    answer = await site.ask("/envoy/api/v2/chat", method="POST")
    assert (
        answer.status == 503 and json.loads(answer.body)["error"]["code"] == "key_store_unavailable" and answer.fields["retry-after"] == "1"
    )


@pytest.mark.parametrize("environment", [{"SIDECAR__ENFORCEMENT": "shadow"}])
async def test_shadow_lets_through_and_remembers(site: Site) -> None:
    answer = await site.ask("/envoy/api/v2/chat", method="POST", key="ahk_nobody")
    assert answer.status == 200 and "x-aigne-hub-client-did" not in answer.fields
    assert site.events.requests[0].shadow == "invalid_api_key"


@pytest.mark.parametrize("environment", [{"SIDECAR_PROXY__TRUSTED_PROXIES": "[10.0.0.0/8]"}])
async def test_the_client_behind_a_trusted_balancer(site: Site) -> None:
    await site.ask("/envoy/api/v2/chat", method="POST", X_Forwarded_For="6.6.6.6, 203.0.113.9, 10.1.1.1")
    assert site.events.requests[0].client == "203.0.113.9"


class TestModels:
    async def test_a_hidden_body_is_refused_whatever_the_query_says(self, site: Site) -> None:
        key = site.keys.issue(allowed_models=("good",))
        for target in ("/envoy/api/v2/chat", "/envoy/api/v2/chat?model=good"):
            answer = await site.ask(target, method="POST", key=key)
            assert answer.status == 403 and json.loads(answer.body)["error"]["code"] == "model_not_allowed"

    async def test_a_shown_body_is_judged(self, site: Site) -> None:
        key = site.keys.issue(allowed_models=("good",))
        for model, status in (("good", 200), ("bad", 403)):
            body = json.dumps({"model": model}).encode()
            assert (await site.ask("/envoy/api/v2/chat/completions", method="POST", key=key, body=body)).status == status
        assert site.events.requests[0].model == "good"

    @pytest.mark.parametrize("environment", [{f"SIDECAR_PROXY__BOUNDS__INSPECTED_{name}": "1000" for name in ("BODY", "TOTAL")}])
    async def test_a_shown_body_gives_its_room_back(self, site: Site) -> None:
        for _ in range(3):
            assert (await site.ask("/envoy/api/v2/chat/completions", method="POST", body=b'{"model":"%b"}' % (b"x" * 500))).status == 200

    async def test_half_a_body_is_none(self, site: Site) -> None:
        key = site.keys.issue(allowed_models=("good",))
        fields = {"X_Envoy_Auth_Partial_Body": "true"}
        answer = await site.ask("/envoy/api/v2/chat/completions", method="POST", key=key, body=b'{"model":"good"}', **fields)
        assert answer.status == 403

    async def test_a_route_whose_model_stands_in_the_query_needs_no_body(self, site: Site) -> None:
        key = site.keys.issue(allowed_models=("good",))
        assert (await site.ask("/envoy/api/v2/status?model=good", key=key)).status == 200
        assert (await site.ask("/envoy/api/v2/status?model=bad", key=key)).status == 403


class TestLimits:
    async def test_what_is_admitted_is_given_back_at_once_and_told(self, site: Site) -> None:
        async def admit(key: object, request_id: str, tokens: int) -> Admission:
            return Admission(key_id="key", requests=Window(3, 2, 20.0))

        site.limiter.admit = admit  # type: ignore[method-assign]
        key = site.keys.issue(limits=Limits(rpm=3))
        answer = await site.ask("/envoy/api/v2/chat", method="POST", key=key)
        assert answer.fields["x-ratelimit-remaining-requests"] == "2" and site.limiter.released == 1

    async def test_a_refusal_takes_its_place_nowhere(self, site: Site) -> None:
        async def admit(key: object, request_id: str, tokens: int) -> Admission:
            return Admission(allowed=False, reason="rpm", retry_after=7.2, key_id="key", requests=Window(3, 0, 7.2))

        site.limiter.admit = admit  # type: ignore[method-assign]
        answer = await site.ask("/envoy/api/v2/chat", method="POST", key=site.keys.issue(limits=Limits(rpm=3)))
        assert answer.status == 429 and answer.fields["retry-after"] == "8" and site.limiter.released == 0

    async def test_without_a_store_a_limited_key_gets_503(self, site: Site) -> None:
        async def admit(key: object, request_id: str, tokens: int) -> Admission:
            raise StoreUnavailable("away")

        site.limiter.admit = admit  # type: ignore[method-assign]
        assert (await site.ask("/envoy/api/v2/chat", method="POST", key=site.keys.issue(limits=Limits(rpm=3)))).status == 503


@pytest.mark.parametrize("environment", [{"SIDECAR_PROXY__BOUNDS__REQUESTS": "1"}])
async def test_more_questions_than_there_is_room_for_are_overload(site: Site) -> None:
    held = asyncio.Event()

    async def resolve(token: bytes) -> None:
        await held.wait()

    site.keys.cold.add(site.key.encode())
    site.keys.resolve = resolve  # type: ignore[method-assign,assignment]
    first = asyncio.create_task(site.ask("/envoy/api/v2/chat", method="POST"))
    while not site.plane.front.requests:
        await asyncio.sleep(0.005)
    assert (await site.ask("/envoy/api/v2/chat", method="POST")).status == 503
    held.set()
    assert (await first).status == 401
