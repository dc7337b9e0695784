"""Credential, policy, routing, rewriting and small parsers against arbitrary input: a verdict or a refusal, nothing else."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import unquote_to_bytes

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.hubs import form_places
from sidecar.hubs.form_places import Field, Names, loose_fields, query_fields
from sidecar.hubs.load import BUILT_IN, load_profile
from sidecar.hubs.model import find_models, peek_model, replace_prefix
from sidecar.hubs.routing import Router, has_one_meaning, normalize
from sidecar.keys.record import Key
from sidecar.refusals import Refused
from sidecar.settings import load
from sidecar.throttle import source_of
from sidecar.worker.authorize import address_allowed, check_models, check_use
from sidecar.worker.client.address import ClientAddress
from sidecar.worker.identify import credential, parameter_names
from sidecar.worker.rewrite import Caller, Framing, RequestRewriter
from sidecar.worker.tracing import span_of
from tests.fuzz.effort import fuzz
from tests.fuzz.material import TOKEN, mutated, requests
from tests.fuzz.test_requests import read

PROFILES = {name: load_profile(name) for name in BUILT_IN}
ROUTERS = {name: Router(profile) for name, profile in PROFILES.items()}
HUB = load(None, {"SIDECAR_HUB__URL": "http://hub.test/mount", "SIDECAR_HUB__ACCESS_KEY": "hub-{key}"}).hub
REWRITERS = {name: RequestRewriter(profile, HUB, "sidecar-fuzz") for name, profile in PROFILES.items()}
CALLER = Caller("key_0123456789abcdef", "req_1", "192.0.2.1", "http", "gw.test", "00-" + "1" * 32 + "-" + "2" * 16 + "-01", False)


@fuzz
@given(st.one_of(requests, mutated([b"GET /v1?a=b HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + TOKEN + b"\r\n\r\n"])))
def test_a_credential_is_the_only_one_and_whole(raw: bytes) -> None:
    head, _ = read([raw])
    if isinstance(head, str):
        return
    try:
        token = credential(head)
    except Refused:
        return
    lines = re.findall(rb"\r\nauthorization:[ \t]*([^\r]*?)[ \t]*(?=\r\n)", raw.partition(b"\r\n\r\n")[0] + b"\r\n", re.IGNORECASE)
    assert len(lines) == 1
    scheme, _, rest = lines[0].partition(b" ")
    assert scheme.lower() == b"bearer" and rest.strip(b" ") == token
    assert re.fullmatch(rb"[!-~]+", token) and b"," not in token
    assert b"access_token" not in parameter_names(head.target.query or b"")


paths = st.one_of(
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="?#"), max_size=40).map(lambda text: "/" + text),
    st.lists(
        st.sampled_from(["api", "v2", "chat", "ai", "models", "..", ".", "", "%2e", "%2E%2e", "%252e", "..;", "%2f", "%5c", "%3F", "__blocklet__.js", "%61pi", "x"]),
        max_size=7,
    ).map(lambda parts: "/" + "/".join(parts)),
)  # fmt: skip


@fuzz
@given(paths, st.sampled_from(["GET", "POST", "HEAD", "DELETE"]), st.sampled_from(sorted(PROFILES)))
def test_a_path_is_routed_as_every_hub_would_read_it(path: str, method: str, profile: str) -> None:
    try:
        matched = ROUTERS[profile].match(method, path)
    except Refused:
        return
    assert matched.hub_path.startswith("/")
    assert has_one_meaning(path) or normalize(path) in matched.route.paths
    if matched.route.public:
        assert normalize(path) in matched.route.paths, "what needs no key is named exactly"


@fuzz
@given(requests, st.sampled_from(sorted(PROFILES)), st.booleans(), st.one_of(st.none(), st.integers(0, 1 << 40)))
def test_the_hub_gets_one_valid_request_with_our_identity(raw: bytes, profile: str, chunked: bool, length: int | None) -> None:
    head, _ = read([raw])
    if isinstance(head, str) or head.target.path == b"*":
        return
    route = PROFILES[profile].routes[-1]
    framing = Framing(None if chunked else length, chunked)
    built = REWRITERS[profile].head(head, head.target.path, route, CALLER, framing)
    fields: list[tuple[bytes, bytes]] = []

    class Reader:
        def on_header(self, name: bytes, value: bytes) -> None:
            fields.append((name.lower(), value))

    parser = httptools.HttpRequestParser(Reader())
    parser.feed_data(built)
    names = [name for name, _ in fields]
    assert names.count(b"host") == 1 and (b"host", b"hub.test") in fields
    assert names.count(b"authorization") == 1 and (b"authorization", b"Bearer hub-{key}") in fields
    assert names.count(b"content-length") + names.count(b"transfer-encoding") == (1 if chunked or length is not None else 0)
    assert TOKEN not in built.partition(b"\r\n")[2] or TOKEN in raw.replace(b"Authorization", b"").partition(b"\r\n")[2]
    assert built.count(b"\r\n\r\n") == 1 and built.endswith(b"\r\n\r\n") and b"\n" not in built.replace(b"\r\n", b"")


networks = st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7", "2001:db8::/32", "::1/128", "0.0.0.0/0", "::/0"])
addresses = st.one_of(
    st.ip_addresses().map(str),
    st.sampled_from(["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1", "192.0.2.7", "", "unix", "10.0.0.1 ", "010.0.0.1", "1", "fe80::1%eth0"]),
    st.text(max_size=12),
)


@fuzz
@given(st.lists(networks, max_size=3), addresses)
def test_addresses_are_judged_as_a_naive_reading_says(allowed: list[str], client: str) -> None:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        expected = False
    else:
        mapped = getattr(address, "ipv4_mapped", None) or address
        expected = any(mapped in ipaddress.ip_network(network) for network in allowed)
    assert address_allowed(tuple(allowed), client) is expected
    source_of(client)


models = st.text("ab/*,", max_size=6)


@fuzz
@given(st.one_of(st.none(), st.lists(models, max_size=3)), st.lists(models, max_size=3))
def test_models_are_judged_as_a_naive_reading_says(allowed: list[str] | None, asked: list[str]) -> None:
    def fits(model: str, entry: str) -> bool:
        like = re.fullmatch(re.escape(entry).replace(r"\*", ".*"), model) is not None
        # A pattern stands for one name, unless it stands for all.
        return model == entry or (like and ("," not in model or not entry.strip("*")))

    expected = allowed is None or (bool(asked) and all(any(fits(model, entry) for entry in allowed) for model in asked))
    key = Key("key_1", "k", 0.0, allowed_models=None if allowed is None else tuple(allowed))
    if expected:
        check_models(key, tuple(asked))
    else:
        with pytest.raises(Refused):
            check_models(key, tuple(asked))


@fuzz
@given(
    paths,
    st.sampled_from(["GET", "POST"]),
    st.one_of(
        st.none(), st.lists(st.sampled_from(["chat", "models", "/api/**", "GET /api/*", "POST /api/v2/*", "* /x", "image"]), max_size=3)
    ),
    addresses,
    st.one_of(st.none(), st.floats(0, 20)),
)
def test_policy_gives_a_verdict_whatever_it_is_asked(
    path: str, method: str, routes: list[str] | None, client: str, throttled: float | None
) -> None:
    key = Key(
        "key_1", "k", 0.0, allowed_routes=None if routes is None else tuple(routes), allowed_ips=("10.0.0.0/8",), throttled_until=throttled
    )
    route = PROFILES["aigne"].routes[2]
    try:
        check_use(key, method, path, route, client, 10.0)
    except Refused:
        return
    assert throttled is None or throttled <= 10.0
    assert address_allowed(("10.0.0.0/8",), client) and routes != []


@fuzz
@given(st.lists(st.binary(max_size=60), max_size=4), addresses, st.lists(networks, max_size=2))
def test_a_forwarded_address_is_the_peers_word_or_an_address(values: list[bytes], peer: str, trusted: list[str]) -> None:
    found = ClientAddress(tuple(trusted)).of(peer, values)
    if found != peer:
        ipaddress.ip_address(found)
        assert trusted, "nobody is trusted, so only the peer counts"


@fuzz
@given(st.one_of(st.binary(max_size=80), mutated([b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"])))
def test_a_trace_goes_on_or_begins_anew(traceparent: bytes) -> None:
    assert re.fullmatch(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", span_of([traceparent]).traceparent)


CONTENT_TYPES = ["application/json", "multipart/form-data; boundary=b", "application/x-www-form-urlencoded", "text/plain", "", "multipart/form-data", "application/json; charset=utf-16"]  # fmt: skip
PLACES = ("json:model", "json:input.model", "form:model", "query:model", "path:2")


@fuzz
@given(
    st.one_of(
        st.binary(max_size=120),
        mutated([b'{"model":"aignehub/x","input":{"model":"y"}}', b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nx\r\n--b--\r\n', b"model=x&model=y", b'{"model":"\\ud800"}']),
    ),
    st.sampled_from(CONTENT_TYPES),
    st.sampled_from(["", "gzip", "identity", "x"]),
    st.sampled_from(["", "model=x", "model=%FF&a", "model[]=x"]),
)  # fmt: skip
def test_models_in_bodies_are_found_or_refused(body: bytes, content_type: str, coding: str, query: str) -> None:
    peek_model(PLACES, body)
    try:
        finding = find_models(PLACES, "/v1/models/x", query, content_type, body, coding)
    except Refused:
        return
    replace_prefix(body, finding, "aignehub/")
    for model in finding.dispatched("aignehub/"):
        model.encode("utf-8")


WANTED = ("model", "Key")
fields = st.lists(
    st.sampled_from(
        [b"model", b"key", b"mode", b"%6C", b"%6d", b"odel", b"%E2%84%AA", b"ey", b"[", b"]", b".", b"%5B", b"%5d", b"%2e", b"&", b";", b"=", b"+", b" ", b"%20", b"%00", b"%", b"%4", b"a"]
    ),
    max_size=14,
).map(b"".join)  # fmt: skip


@fuzz
@given(st.one_of(fields, mutated([b"x=1&mod%65l=a%2Fb;input[model]=c", b"+model[0]=&a.KEY=x"])), st.integers(3, 9))
def test_fields_are_found_as_a_naive_reading_finds_them(body: bytes, piece: int) -> None:
    def naive(separators: bytes) -> list[tuple[str, bytes]]:
        found = []
        for pair in re.split(separators, body):
            raw, _, value = pair.partition(b"=")
            name = unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8", "replace")
            parts = {part.strip(" \t\r\n") for part in re.split(r"[\[\].\0]", name.casefold())}
            if parts & {wanted.casefold() for wanted in WANTED}:
                found.append((name, value))
        return found

    def said(found: list[Field]) -> list[tuple[str, bytes]]:
        return [(field.name, body[field.start : field.end]) for field in found]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(form_places, "_PIECE", piece)
        assert said(loose_fields(body, Names(WANTED))) == naive(b"[&;]")
        try:
            found = said(query_fields(body, Names(WANTED)))
        except Refused:
            assert naive(b"&") != naive(b"[&;]")
        else:
            assert found == naive(b"&") == naive(b"[&;]")
