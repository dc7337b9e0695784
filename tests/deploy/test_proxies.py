"""One acceptance suite for every proxy of deploy/, minus what its row of docs/proxies.md says that it cannot."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.proxies import BY_SOCKET, KINDS, SOCKET, Proxy, running
from tests.support.authorizer import Authorizer
from tests.support.hub import ACCESS_KEY, HubProcess, hub_process
from tests.support.sidecar import Answer, call, wait_until
from tests.support.source import ROOT
from tests.support.spoofed import SPOOFED
from tests.support.waiting import WITHIN

CHAT = {"input": {"messages": [{"role": "user", "content": "Hi"}], "modelOptions": {"model": "openai/gpt-5-mini"}}}


@dataclass(frozen=True)
class Site:
    """A proxy, its authorizer and the hub behind it."""

    proxy: Proxy
    authorizer: Authorizer
    hub: HubProcess

    def key(self, **fields: object) -> str:
        """The secret of a new key."""
        return self.authorizer.create_key(**fields)[1]


@pytest.fixture(scope="module")
def hub() -> Iterator[HubProcess]:
    with hub_process() as hub:
        yield hub


@pytest.fixture(scope="module")
def authorizer(hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authorizer]:
    with Authorizer(tmp_path_factory.mktemp("authorizer"), hub.url, ACCESS_KEY) as authorizer:
        yield authorizer


@pytest.fixture(scope="module", params=KINDS)
def site(
    request: pytest.FixtureRequest, hub: HubProcess, authorizer: Authorizer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("proxy") / request.param
    with running(KINDS[request.param], directory, authorizer=authorizer.port, hub=port_of(hub)) as proxy:
        yield Site(proxy, authorizer, hub)


def port_of(hub: HubProcess) -> int:
    return int(hub.url.rstrip("/").rpartition(":")[2])


def head_of(site: Site) -> str:
    (seen,) = site.hub.requests()
    return str(seen["head"])


def test_a_good_key_reaches_the_hub_with_our_fields(site: Site) -> None:
    key_id, secret = site.authorizer.create_key()
    site.hub.clear()
    answer = site.proxy.ask(secret)
    assert answer.status == 200 and answer.json["usage"]["inputTokens"] > 0
    head = head_of(site)
    fields = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in head.split("\r\n")[1:]}
    assert head.startswith("POST /api/v2/chat HTTP/1.1")
    assert fields["authorization"] == f"Bearer {ACCESS_KEY}" and secret not in head
    assert fields["x-aigne-hub-client-did"] == f"{key_id}@sidecar"
    assert fields["x-request-id"].startswith("req_")
    assert fields["content-type"] == "application/json" and fields["user-agent"].startswith("Python-urllib")
    if site.proxy.can("answer fields"):
        assert answer.headers["x-request-id"] == fields["x-request-id"]
    wait_until(lambda: site.authorizer.metric("sidecar_key_requests_total", key_id=key_id, outcome="ok") == 1)


def test_bodies_go_through_byte_for_byte(site: Site) -> None:
    secret = site.key()
    site.hub.clear()
    body = json.dumps(CHAT | {"padding": "x" * (1 << 20)}).encode()
    assert site.proxy.ask(secret, body=body).status == 200
    (seen,) = site.hub.requests()
    assert seen["sha256"] == hashlib.sha256(body).hexdigest()


def test_streams_come_through(site: Site) -> None:
    answer = site.proxy.ask(site.key(), body=CHAT | {"options": {"streaming": True}})
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/event-stream") and answer.body.count(b"data:") > 2


def check_refusal(answer: Answer, status: int, type_: str, code: str) -> None:
    assert (answer.status, answer.json["error"]["type"], answer.code) == (status, type_, code), answer.body
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store" and answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["access-control-allow-origin"] == "*"
    challenge = answer.headers.get("www-authenticate", "")
    assert challenge.startswith('Bearer realm="aigne-hub"') or status != 401, answer.headers
    assert ("retry-after" in answer.headers) == (code == "rate_limit_exceeded")


def test_refusals_have_their_status_body_and_fields(site: Site) -> None:
    ask, authorizer = site.proxy.ask, site.authorizer
    site.hub.clear()
    check_refusal(ask(""), 401, "authentication_error", "missing_api_key")
    check_refusal(ask("ahk_nonsense"), 401, "authentication_error", "invalid_api_key")
    check_refusal(call("GET", f"{site.proxy.url}/api/v2/status", headers={"Authorization": "Basic eA=="}), 401, "authentication_error", "invalid_api_key")  # fmt: skip
    key_id, secret = authorizer.create_key()
    assert authorizer.admin("POST", f"/keys/{key_id}/disable").status == 200
    check_refusal(wait_for_refusal(site, secret), 401, "authentication_error", "api_key_disabled")
    soon = site.key(expires_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 4)))
    check_refusal(wait_for_refusal(site, soon), 401, "authentication_error", "api_key_expired")
    good = site.key()
    check_refusal(ask(good, "/api/v2/status?access_token=x", method="GET"), 400, "invalid_request_error", "invalid_request")
    check_refusal(ask(good, "/api/nowhere", method="GET"), 404, "invalid_request_error", "unknown_route")
    check_refusal(ask(good, method="DELETE"), 405, "invalid_request_error", "method_not_allowed")
    check_refusal(ask(site.key(allowed_routes=["status"])), 403, "permission_error", "route_not_allowed")
    check_refusal(ask(site.key(allowed_ips=["192.0.2.0/24"])), 403, "permission_error", "ip_not_allowed")
    check_refusal(ask(site.key(allowed_models=["openai/gpt-5-mini"])), 403, "permission_error", "model_not_allowed")
    assert all("/api/v2/chat" not in seen["target"] or seen["head"].count(ACCESS_KEY) for seen in site.hub.requests())


def wait_for_refusal(site: Site, secret: str, *, within: float = WITHIN) -> Answer:
    def refused() -> Answer | None:
        answer = site.proxy.ask(secret)
        return answer if answer.status == 401 else None

    return wait_until(refused, within=within, what="the refusal")


def test_a_head_request_is_refused_without_a_body(site: Site) -> None:
    answer = site.proxy.ask("ahk_nonsense", "/api/v2/status", method="HEAD")
    assert answer.status == 401 and not answer.body and answer.headers["www-authenticate"]


def test_rates_and_quotas_hold_and_are_told(site: Site) -> None:
    secret = site.key(limits={"rpm": 3})
    answers = [site.proxy.ask(secret) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    check_refusal(answers[3], 429, "rate_limit_error", "rate_limit_exceeded")
    assert answers[3].headers["x-ratelimit-limit-requests"] == "3" and answers[3].headers["x-ratelimit-remaining-requests"] == "0"
    if site.proxy.can("answer fields"):
        assert answers[0].headers["x-ratelimit-remaining-requests"] == "2"
    secret = site.key(quota={"requests": 2, "period": "day"})
    answers = [site.proxy.ask(secret) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    check_refusal(answers[2], 429, "insufficient_quota", "insufficient_quota")
    assert answers[2].headers["x-should-retry"] == "false"


def test_nothing_that_speaks_of_identity_reaches_the_hub(site: Site) -> None:
    secret = site.key()
    site.hub.clear()
    fields = {line.partition(": ")[0]: line.partition(": ")[2] for line in SPOOFED}
    if site.proxy.kind.name != "traefik":
        fields["Connection"] = "authorization, x-aigne-hub-client-did, x-request-id"
    answer = call("POST", f"{site.proxy.url}/api/v2/chat?a=1", CHAT, fields | {"Authorization": f"Bearer {secret}"}, timeout=30)
    assert answer.status == 200, answer.body
    head = head_of(site).lower()
    assert "admin" not in head and "6.6.6.6" not in head and "cookie" not in head
    assert "_" not in head.replace("req_", "").replace("key_", "")
    assert "?a=1 http/1.1" in head and "authorization: bearer" in head and "x-aigne-hub-client-did: key_" in head


def test_credentials_in_the_query_do_not_reach_the_hub(site: Site) -> None:
    secret = site.key()
    site.hub.clear()
    answer = site.proxy.ask(secret, "/api/v2/status?login_token=admin&a=1&login%5Ftoken=admin", method="GET")
    if site.proxy.can("query"):
        assert answer.status == 200, answer.body
        assert head_of(site).startswith("GET /api/v2/status?a=1 HTTP/1.1")
    else:
        check_refusal(answer, 400, "invalid_request_error", "invalid_request")
        assert site.hub.requests() == []


def test_a_client_cannot_choose_its_address(site: Site) -> None:
    secret = site.key(allowed_ips=["6.6.6.6/32"])
    assert site.proxy.ask(secret, X_Forwarded_For="6.6.6.6", X_Real_Ip="6.6.6.6", Forwarded="for=6.6.6.6").code == "ip_not_allowed"
    assert site.proxy.ask(site.key(allowed_ips=["127.0.0.1/32"]), X_Forwarded_For="6.6.6.6").status == 200


def test_the_sidecar_answers_preflights_and_discovery(site: Site) -> None:
    site.hub.clear()
    answer = site.proxy.ask("", method="OPTIONS", Origin="https://app.example", Access_Control_Request_Headers="authorization")
    assert answer.status == 204 and answer.headers["access-control-allow-headers"] == "authorization"
    page = site.proxy.ask("", "/__blocklet__.js?type=json", method="GET")
    assert page.status == 200 and page.json["prefix"] == "/"
    check_refusal(site.proxy.ask(site.key(), "/__blocklet__.js", {}), 405, "invalid_request_error", "method_not_allowed")
    assert all(own.headers["x-request-id"].startswith("req_") for own in (answer, page))
    assert site.hub.requests() == []
    assert site.proxy.ask("", "/api/ai/models", method="GET").status == 200


def test_the_first_version_of_the_api_is_rewritten(site: Site) -> None:
    secret = site.key()
    site.hub.clear()
    body = {"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": "Hello"}]}
    assert site.proxy.ask(secret, "/api/v1/chat/completions?a=1", body).status == 200
    assert head_of(site).startswith("POST /api/v2/chat/completions?a=1 HTTP/1.1")


@pytest.mark.parametrize(
    "path", ["//api/v2/status", "/api/v2/x/../status", "/api/v2/%2e%2e/v2/status", "/api/v2/x%2f..%2fstatus", "/api/v2/status%00"]
)
def test_no_path_means_two_things(site: Site, path: str) -> None:
    """Whatever the proxy makes of it: the hub sees a path that was checked, or none."""
    secret = site.key(allowed_routes=["status"])
    site.hub.clear()
    answer = call("GET", f"{site.proxy.url}{path}", headers={"Authorization": f"Bearer {secret}"}, timeout=30)
    seen = [request["target"] for request in site.hub.requests()]
    assert seen in ([], ["/api/v2/status"]), (answer.status, seen)


def test_a_revoked_key_is_dead_within_two_seconds(site: Site) -> None:
    key_id, secret = site.authorizer.create_key()
    assert site.proxy.ask(secret).status == 200
    assert site.authorizer.admin("POST", f"/keys/{key_id}/revoke").status == 200
    answer = wait_for_refusal(site, secret, within=2)
    check_refusal(answer, 401, "authentication_error", "api_key_revoked")
    wait_until(lambda: site.authorizer.metric("sidecar_key_requests_total", key_id=key_id, reason="api_key_revoked") >= 1)


def test_a_key_without_a_shown_body_cannot_smuggle_its_model_by_the_query(site: Site) -> None:
    secret = site.key(allowed_models=["openai/gpt-5-mini"])
    site.hub.clear()
    body = {"input": {"messages": [], "modelOptions": {"model": "openai/gpt-5"}}}
    assert site.proxy.ask(secret, "/api/v2/chat?model=openai/gpt-5-mini", body).code == "model_not_allowed"
    assert site.hub.requests() == []


def test_without_an_authorizer_nothing_passes(site: Site) -> None:
    secret = site.key()
    site.hub.clear()
    site.authorizer.stop()
    try:
        answer = site.proxy.ask(secret)
    finally:
        site.authorizer.start()
    assert site.hub.requests() == []
    assert answer.status in (500, 502, 503)
    if not site.proxy.can("plain own errors"):
        assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "key_store_unavailable", "1")
    wait_until(lambda: site.proxy.ask(secret).status == 200, within=30)


@pytest.mark.parametrize("name", KINDS)
def test_a_hub_that_is_down_is_told_as_such(name: str, authorizer: Authorizer, tmp_path: Path) -> None:
    _, secret = authorizer.create_key()
    with running(KINDS[name], tmp_path / name, authorizer=authorizer.port, hub=1) as proxy:
        answer = proxy.ask(secret)
        assert answer.status == 502
        if not proxy.can("plain own errors"):
            assert answer.code == "hub_unavailable" and answer.json["error"]["type"] == "upstream_error"


@pytest.mark.parametrize("name", BY_SOCKET)
def test_an_authorizer_on_a_unix_socket(name: str, hub: HubProcess, tmp_path: Path) -> None:
    documented = (ROOT / "docs" / "proxies.md").read_text()
    assert all(f"`{text}`" in documented for text in BY_SOCKET[name])
    # The path of a socket may have 107 bytes, and that of a test's directory may have more.
    with tempfile.TemporaryDirectory(prefix="authz-") as short:
        socket = f"{short}/s"
        old, new = BY_SOCKET[name]
        instead = {old: new.replace(SOCKET, socket)}
        with (
            Authorizer(tmp_path, hub.url, ACCESS_KEY, socket=socket) as authorizer,
            running(KINDS[name], tmp_path / name, authorizer=authorizer.port, hub=port_of(hub), instead=instead) as proxy,
        ):
            # Who asks has no address there: that of the client is still the one that the proxy tells.
            secret = authorizer.create_key(allowed_ips=["127.0.0.1/32"])[1]
            assert proxy.ask(secret).status == 200
            assert proxy.ask(authorizer.create_key(allowed_ips=["6.6.6.6/32"])[1], X_Forwarded_For="6.6.6.6").code == "ip_not_allowed"
            check_refusal(proxy.ask("ahk_nonsense"), 401, "authentication_error", "invalid_api_key")
            assert proxy.ask("", "/__blocklet__.js?type=json", method="GET").json["prefix"] == "/"


@pytest.mark.parametrize(("name", "lines"), [("envoy", "with_request_body"), ("traefik", "forwardBody|maxBodySize")])
def test_where_bodies_are_shown_lists_of_models_hold(
    name: str, lines: str, hub: HubProcess, authorizer: Authorizer, tmp_path: Path
) -> None:
    _, secret = authorizer.create_key(allowed_models=["openai/gpt-5-mini"])
    with running(KINDS[name], tmp_path / name, authorizer=authorizer.port, hub=port_of(hub), uncomment=lines) as proxy:
        hub.clear()
        body = json.dumps(CHAT).encode()
        assert proxy.ask(secret, body=body).status == 200
        (seen,) = hub.requests()
        assert seen["sha256"] == hashlib.sha256(body).hexdigest()
        other = {"input": {"messages": [], "modelOptions": {"model": "openai/gpt-5"}}}
        assert proxy.ask(secret, body=other).code == "model_not_allowed"
        assert proxy.ask(secret, "/api/v2/chat?model=openai/gpt-5-mini", other).code == "model_not_allowed"
        assert proxy.ask(secret, "/api/v2/chat?model=openai/gpt-5", CHAT).code == "model_not_allowed"
        assert len(hub.requests()) == 1
