"""What only shows on the wire: odd requests through every proxy of deploy/, and a hub that says what none should."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.proxies import KINDS, running
from tests.deploy.scripted import ScriptedHub, say, scripted_hub
from tests.support.authorizer import Authorizer
from tests.support.hub import ACCESS_KEY
from tests.support.sidecar import wait_until

BALANCER = "set_real_ip_from|real_ip_header|trusted_proxies static|trustedIPs|xff_num_trusted_hops"
TRAEFIKS = {"trustForwardHeader: false": "trustForwardHeader: true"}
"""What a configuration has for a load balancer before the proxy, commented out, and what Traefik's says beside it."""
NODE_CLOSES_AFTER = 5.0
"""Seconds after which a hub of Node.js, as it comes, closes an idle connection."""
REFUSES_AT_ONCE = ("envoy", "nginx")
"""The others first take up to 256 KiB of a body that nobody wants, as servers in Go do."""


@dataclass(frozen=True)
class Site:
    """A proxy with its port, its authorizer and the hub behind it."""

    name: str
    port: int
    authorizer: Authorizer
    hub: ScriptedHub
    secret: str

    def ask(self, request: str, *fields: str, secret: str = "", body: bytes = b"", within: float = 30) -> bytes:
        """The answer to `request` (`GET /path`) with the key; with no more of a body than `body`, whatever the fields say."""
        return say(
            self.port,
            f"{request} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            f"Authorization: Bearer {secret or self.secret}",
            *fields,
            body=body,
            within=within,
        )


@pytest.fixture(scope="module")
def hub() -> Iterator[ScriptedHub]:
    with scripted_hub() as hub:
        yield hub


@pytest.fixture(scope="module")
def authorizer(hub: ScriptedHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authorizer]:
    authorizer = Authorizer(tmp_path_factory.mktemp("authorizer"), f"http://127.0.0.1:{hub.port}", ACCESS_KEY)
    with authorizer:
        yield authorizer


@pytest.fixture(scope="module", params=KINDS)
def proxy(
    request: pytest.FixtureRequest, hub: ScriptedHub, authorizer: Authorizer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    secret = authorizer.create_key(allowed_routes=["chat", "audio", "status", "account"], limits={"rpm": 1000})[1]
    directory = tmp_path_factory.mktemp("proxy") / request.param
    with running(KINDS[request.param], directory, authorizer=authorizer.port, hub=hub.port) as proxy:
        yield Site(request.param, int(proxy.url.rpartition(":")[2]), authorizer, hub, secret)


@pytest.fixture
def site(proxy: Site) -> Site:
    proxy.hub.clear()
    return proxy


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_a_hub_cannot_have_its_access_key_told(site: Site) -> None:
    """nginx would follow X-Accel-Redirect to where the authorizer's own answer is."""
    site.hub.answer = b"HTTP/1.1 200 OK\r\nX-Accel-Redirect: /_authorize\r\ncontent-length: 2\r\n\r\n{}"
    answer = site.ask("GET /api/v2/status")
    assert status_of(answer) == 200 and answer.endswith(b"{}")
    assert ACCESS_KEY.encode() not in answer and b"sidecar-target" not in answer.lower()


def test_a_hub_may_say_as_much_in_fields_as_without_a_proxy(site: Site) -> None:
    fields = b"".join(b"X-Policy-%d: %b\r\n" % (number, b"x" * 3000) for number in range(8))
    site.hub.answer = b"HTTP/1.1 200 OK\r\n%bcontent-length: 2\r\n\r\n{}" % fields
    answer = site.ask("GET /api/v2/status")
    assert status_of(answer) == 200 and answer.lower().count(b"x-policy-") == 8


def test_a_limited_key_is_told_its_own_limits_alone(site: Site) -> None:
    # What cannot add fields to an answer tells the hub's.
    limit = 1000 if KINDS[site.name].can >= {"answer fields"} else 7
    site.hub.answer = b"HTTP/1.1 200 OK\r\nX-Ratelimit-Limit-Requests: 7\r\ncontent-length: 2\r\n\r\n{}"
    head = site.ask("GET /api/v2/status").lower().partition(b"\r\n\r\n")[0]
    assert head.count(b"x-ratelimit-limit-requests:") == 1 and b"x-ratelimit-limit-requests: %d\r" % limit in head + b"\r"


def test_the_hub_is_told_who_asks_once_and_by_its_own_name(site: Site) -> None:
    site.ask("GET /api/v2/status", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: evil")
    told = [(name, value) for name, value in site.hub.fields if name in ("host", "x-forwarded-host", "x-forwarded-for", "x-real-ip")]
    assert sorted(told) == [
        ("host", f"127.0.0.1:{site.hub.port}"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", f"127.0.0.1:{site.port}"),
        ("x-real-ip", "127.0.0.1"),
    ]


def test_who_asks_is_not_told_where_the_hub_passes_it_on(site: Site) -> None:
    site.ask("POST /api/v2/audio/speech", "Content-Length: 0")
    told = dict(site.hub.fields)
    assert not {"x-aigne-hub-client-did", "x-real-ip"} & told.keys() and not told.get("x-forwarded-for")


@pytest.mark.parametrize(
    "field", ["Contact: bad", "Content_Type: bad", "Content_Length: 7", "TE: trailers", "Trailer: X-Bad", "X-Envoy-Auth-Partial-Body: true"]
)
def test_no_field_passes_that_the_profile_does_not_name(site: Site, field: str) -> None:
    assert status_of(site.ask("GET /api/v2/status", field)) == 200
    assert field.partition(":")[0].lower() not in dict(site.hub.fields)


UNREADABLE: list[tuple[str, tuple[str, ...], int, bytes, tuple[str, ...]]] = [
    ("PROPFIND /api/v2/status", (), 405, b"method_not_allowed", ()),
    # Traefik cleans it.
    ("GET //api/v2/status", (), 400, b"invalid_request", ("traefik",)),
    ("GET /api/v2/status?a=%zz", (), 400, b"invalid_request", ()),
    ("GET /api/v2/status", tuple(f"X-F{number}: 1" for number in range(96)), 431, b"headers_too_large", ()),
    # Envoy shows the authorizer something else in its place.
    ("GET /api/v2/status", ("X-Name: caf\xe9",), 400, b"invalid_request", ("envoy",)),
]


@pytest.mark.parametrize(("request_line", "fields", "status", "code", "but"), UNREADABLE)
def test_what_cannot_be_read_is_no_outage(
    site: Site, request_line: str, fields: tuple[str, ...], status: int, code: bytes, but: tuple[str, ...]
) -> None:
    answer = site.ask(request_line, *fields)
    if site.name in but:
        # It makes another request of this one, which is served.
        assert status_of(answer) == 200 and len(site.hub.heads) == 1
        return
    assert status_of(answer) == status and b'"%b"' % code in answer and b"retry-after" not in answer.lower(), answer
    assert site.hub.heads == []


@pytest.mark.parametrize("body", ["Content-Length: 30000000", "Transfer-Encoding: chunked"])
def test_a_refusal_waits_for_nobodys_body(site: Site, body: str) -> None:
    chunked = body.startswith("Transfer")
    begun = b"" if site.name in REFUSES_AT_ONCE else b"50000\r\n" * chunked + bytes(0x50000)
    answer = site.ask("POST /api/v2/chat", body, secret="ahk_nobody", body=begun, within=20)
    assert status_of(answer) == 401 and b"invalid_api_key" in answer


def test_no_path_is_decoded_behind_the_check(site: Site) -> None:
    site.ask("GET /api/usage/a%2Fb")
    assert [head.split(" ")[1] for head in site.hub.heads] == ([] if site.name == "caddy" else ["/api/usage/a%2Fb"])


@pytest.mark.parametrize("query", ["login_token=x", "__jwt", "setupToken=1&login%5Ftoken=x"])
def test_no_credential_in_the_query_passes_where_it_is_all_of_it(site: Site, query: str) -> None:
    site.ask(f"GET /api/v2/status?{query}")
    assert [head.split(" ")[1] for head in site.hub.heads] == (["/api/v2/status"] if KINDS[site.name].can >= {"query"} else [])


def test_no_query_tells_the_hub_the_key(site: Site) -> None:
    answer = site.ask(f"GET /api/v2/status?mine={site.secret}")
    assert status_of(answer) == (200 if site.hub.heads else 400)
    assert not any(site.secret in head for head in site.hub.heads)


def test_no_escape_leads_around_a_rewrite(site: Site) -> None:
    site.ask("POST /api/%76%31/chat/completions", "Content-Length: 0")
    assert [head.split(" ")[1] for head in site.hub.heads] in ([], ["/api/v2/chat/completions"])


def test_an_idle_hub_connection_is_given_up_before_the_hub_closes_it(site: Site) -> None:
    assert status_of(site.ask("GET /api/v2/status")) == 200
    wait_until(lambda: site.hub.idle, what="the end of the connection")
    assert max(site.hub.idle) < NODE_CLOSES_AFTER


@pytest.mark.parametrize("name", KINDS)
def test_behind_a_balancer_the_client_is_who_connected_to_it(name: str, tmp_path: Path) -> None:
    with scripted_hub() as hub:
        authorizer = Authorizer(tmp_path, f"http://127.0.0.1:{hub.port}", ACCESS_KEY, proxy__trusted_proxies="127.0.0.0/8")
        with (
            authorizer,
            running(KINDS[name], tmp_path / name, authorizer=authorizer.port, hub=hub.port, uncomment=BALANCER, instead=TRAEFIKS) as proxy,
        ):
            secret = authorizer.create_key(allowed_ips=["203.0.113.9/32"], allowed_routes=["status"])[1]
            site = Site(name, int(proxy.url.rpartition(":")[2]), authorizer, hub, secret)
            hub.clear()
            assert status_of(site.ask("GET /api/v2/status", "X-Forwarded-For: 6.6.6.6, 203.0.113.9")) == 200
            assert dict(hub.fields)["x-forwarded-for"] == "203.0.113.9"
            hub.clear()
            assert b"ip_not_allowed" in site.ask("GET /api/v2/status", "X-Forwarded-For: 203.0.113.9, 198.51.100.1")
            # A balancer passes on what clients say of themselves, but for that.
            spoofed = (
                "X-Forwarded-Method: GET",
                "X-Forwarded-Uri: /api/v2/status",
                "X-Original-Method: GET",
                "X-Original-Uri: /api/v2/status",
            )
            answer = site.ask("POST /api/v2/chat", "X-Forwarded-For: 203.0.113.9", "Content-Length: 0", *spoofed)
            assert b"route_not_allowed" in answer and hub.heads == []
