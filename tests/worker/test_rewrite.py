"""The heads that go on: nothing of the client's that could pose as somebody, everything of ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.hubs.load import BUILT_IN, load_profile
from sidecar.hubs.profile import Route
from sidecar.hubs.protected import HOP_BY_HOP
from sidecar.refusals import Refused
from sidecar.settings.declaration import Bounds, Hub
from sidecar.settings.values import HubUrl, Listen, Secret
from sidecar.worker.client.head import HeadReader
from sidecar.worker.client.request_head import RequestHead
from sidecar.worker.rewrite import AnswerRewriter, Caller, Framing, RequestRewriter, rewriter_for

HUB = Hub(url=HubUrl.parse("http://hub.test:3000/ai-kit/"), access_key=Secret("blocklet-{braces}"))
CALLER = Caller("key_1", "req_1", "192.0.2.7", "https", "gw.test", "00-" + "a" * 32 + "-" + "b" * 16 + "-01", False)
CHAT = Route(name="chat", methods=("POST",), path="/api/v2/chat")
AUDIO = Route(name="audio", methods=("POST",), path="/api/v2/audio/speech", identity=False)


def parsed(*fields: str, target: str = "/api/v2/chat") -> RequestHead:
    return HeadReader(Bounds()).parse("".join(f"{line}\r\n" for line in (f"POST {target} HTTP/1.1", "Host: a", *fields, "")).encode())


def rewritten(*fields: str, profile: str = "aigne", route: Route = CHAT, target: str = "/api/v2/chat", hub: Hub = HUB) -> str:
    head = parsed(*fields, target=target)
    rewriter = RequestRewriter(load_profile(profile), hub, "sidecar-1")
    return rewriter.head(head, route.path.encode(), route, CALLER, Framing(5, False)).decode()


def test_the_hubs_own_view() -> None:
    head = rewritten("Content-Type: application/json", "Authorization: Bearer client", "Accept: */*", "Accept-Encoding: gzip")
    lines = head.split("\r\n")
    assert lines[0] == "POST /ai-kit/api/v2/chat HTTP/1.1"
    assert lines[1] == "host: hub.test:3000"
    for line in (
        "authorization: Bearer blocklet-{braces}", "x-aigne-hub-client-did: key_1@sidecar", "x-request-id: req_1", "accept-encoding: identity",
        "via: 1.1 sidecar-1", "content-length: 5", "Accept: */*", "Content-Type: application/json", f"traceparent: {CALLER.traceparent}",
    ):  # fmt: skip
        assert lines.count(line) == 1, line
    assert "client" not in head.replace("x-aigne-hub-client-did", "") and "gzip" not in head
    assert head.endswith("\r\n\r\n")


def test_who_passed_it_on_before_stands_before_us() -> None:
    """RFC 9110 7.6.3: else the first of two sidecars that lead to each other would not find itself."""
    head = rewritten("Via: 1.0 fred", "via: 1.1 sidecar-2")
    assert [line for line in head.lower().split("\r\n") if line.startswith("via")] == [
        "via: 1.0 fred",
        "via: 1.1 sidecar-2",
        "via: 1.1 sidecar-1",
    ]


def test_audio_carries_no_identity() -> None:
    head = rewritten(route=AUDIO)
    assert "key_1" not in head and "192.0.2.7" not in head and "authorization: Bearer blocklet" in head


NAMELESS = Caller("key_1", "req_1", "", "https", "gw.test", CALLER.traceparent, False)


@pytest.mark.parametrize("profile", BUILT_IN)
def test_who_has_no_address_is_given_no_empty_one(profile: str) -> None:
    rewriter = rewriter_for(Listen.parse("unix:///run/gw.sock"), load_profile(profile), HUB, "sidecar-1")
    head = parsed("X-Forwarded-For: 203.0.113.9", "X-Real-IP: 203.0.113.9")
    told = rewriter.head(head, b"/x", CHAT, CALLER, Framing(None, False)).decode()
    untold = rewriter.head(head, b"/x", CHAT, NAMELESS, Framing(None, False)).decode()
    of_address = [line for line in told.split("\r\n") if "192.0.2.7" in line]
    assert of_address and told == rewritten_by(profile, head)
    assert untold.split("\r\n") == [line for line in told.split("\r\n") if line not in of_address]
    # Nobody but the sidecar may say it, so what the client said is not left to stand.
    assert {b"x-forwarded-for"} <= set(rewriter.dropped(head, CHAT, NAMELESS))
    assert b"x-forwarded-for" not in rewriter.dropped(head, CHAT, CALLER)
    anonymous = rewriter.head(head, b"/x", AUDIO, NAMELESS, Framing(None, False)).decode()
    assert "key_1" not in anonymous and "x-forwarded-for" not in anonymous


def rewritten_by(profile: str, head: RequestHead) -> str:
    """What a TCP listener's rewriter makes of `head`."""
    rewriter = rewriter_for(Listen.parse("127.0.0.1:0"), load_profile(profile), HUB, "sidecar-1")
    return rewriter.head(head, b"/x", CHAT, CALLER, Framing(None, False)).decode()


def test_without_an_access_key_no_authorization_is_sent() -> None:
    assert "authorization" not in rewritten(hub=Hub(url=HUB.url)).lower()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("a=1&login_token=x&b=%20", "?a=1&b=%20"),
        ("login_token=x", ""),
        ("login%5Ftoken=x&a", "?a"),
        ("token[]=x&tokens=1", "?tokens=1"),
        ("[login_token]=x&a=%5B1%5D", "?a=%5B1%5D"),
        ("%5Btoken%5D=x&user[token]=y&user.access_token=z&user[name]=1", "?user[name]=1"),
        ("[[token]]=x;a[token=y;a]token=z;tokens.a=1", "?tokens.a=1"),
        ("Login_Token=x&TOKEN=y&user[%54oken]=z&visitorid=1&setuptoken=1&Tokens=1", "?Tokens=1"),
        ("", "?"),
        ("a=access_token", "?a=access_token"),
        ("a=1;login_token=x;b=2&c", "?a=1;b=2&c"),
        ("login_token=x;a&&b;", "?a&&b;"),
        ("&token=x", "?"),
        ("a;b&c=", "?a;b&c="),
    ],
)
def test_credential_parameters_are_removed_and_the_rest_is_untouched(query: str, expected: str) -> None:
    assert rewritten(target=f"/api/v2/chat?{query}").startswith(f"POST /ai-kit/api/v2/chat{expected} HTTP/1.1\r\n")


@pytest.mark.parametrize("written", ["Bearer {}", "bearer  {}", "BEARER {}"])
@pytest.mark.parametrize("profile", ["aigne", "generic"])
def test_a_key_that_is_sent_twice_reaches_the_hub_in_neither_place(written: str, profile: str) -> None:
    token = "ahk_" + "a1" * 24
    fields = (f"Authorization: {written.format(token)}", f"X-App-Key: {token}", f"X-Note: it is {token}!", "Accept-Language: ahk_a1")
    head = rewritten(*fields, profile=profile, target=f"/api/v2/chat?a=1&mine={token}&b=2")
    assert token not in head and "Accept-Language: ahk_a1\r\n" in head and "?a=1&b=2 HTTP/1.1" in head


def test_a_key_that_is_but_a_word_takes_no_field_away() -> None:
    """One that was imported may be anything."""
    head = rewritten("Authorization: Bearer json", "Content-Type: application/json", profile="generic", target="/api/v2/chat?format=json")
    assert "Content-Type: application/json\r\n" in head and "?format=json HTTP/1.1" in head


def test_what_a_form_was_found_to_hold_is_not_taken_for_the_next_key() -> None:
    """Heads of one form share what passes; the credential is the one thing in which they differ."""
    first, second = ("ahk_" + letter * 48 for letter in "ab")
    rewriter = RequestRewriter(load_profile("generic"), HUB, "sidecar-1")
    heads = [parsed(f"Authorization: Bearer {token}", f"X-App-Key: {second}") for token in (first, second, first)]
    for head in heads[1:]:
        head.notes = heads[0].notes
    sent = [rewriter.head(head, b"/x", CHAT, CALLER, Framing(None, False)) for head in heads]
    assert [second.encode() in one for one in sent] == [True, False, True]


CONTENT_FIELDS = ("Content-Type: text/plain", "Content-Encoding: gzip", "Content-Language: en")


@pytest.mark.parametrize("profile", BUILT_IN)
def test_what_describes_the_content_is_no_connections_to_drop(profile: str) -> None:
    head = parsed(
        *CONTENT_FIELDS, "X-Mine: 1", "Accept: */*", "Connection: close, content-type, Content-Encoding, content-language, x-mine, accept"
    )
    rewriter = RequestRewriter(load_profile(profile), HUB, "sidecar-1")
    assert [line.decode().rstrip() for line in rewriter.passed(head)] == list(CONTENT_FIELDS)
    assert set(rewriter.dropped(head, CHAT, CALLER)) == {b"x-mine", b"accept"}


@pytest.mark.parametrize(
    ("offered", "passed"),
    [
        (["realtime, openai-insecure-api-key.sk-mine, openai-organization.org-other, openai-project.proj_other"], ["realtime"]),
        (["realtime , OpenAI-Insecure-API-Key.sk-mine,openai-beta.realtime-v1"], ["realtime, openai-beta.realtime-v1"]),
        (["openai-project.a"], []),
        (["openai-project.a", "realtime,x"], ["realtime,x"]),
        (["realtime ,  x"], ["realtime ,  x"]),
        (["openai-projects, my-openai-project.a"], ["openai-projects, my-openai-project.a"]),
    ],
)
def test_a_subprotocol_that_is_a_credential_is_removed_and_the_rest_is_offered(offered: list[str], passed: list[str]) -> None:
    head = parsed(*(f"Sec-WebSocket-Protocol: {value}" for value in offered))
    rewriter = RequestRewriter(load_profile("openai"), HUB, "sidecar-1")
    assert rewriter.passed(head) == [f"Sec-WebSocket-Protocol: {value}\r\n".encode() for value in passed]
    # Who can only name fields drops the whole field.
    assert rewriter.dropped(head, CHAT, CALLER) == ((b"sec-websocket-protocol",) if offered != passed else ())


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://[2001:db8::1]:3000", "[2001:db8::1]:3000"),
        ("http://[::1]:80", "[::1]"),
        ("https://[::1]", "[::1]"),
        ("http://192.0.2.1", "192.0.2.1"),
    ],
)
def test_an_ipv6_address_stands_in_brackets_in_host(url: str, host: str) -> None:
    assert rewritten(hub=Hub(url=HubUrl.parse(url))).split("\r\n")[1] == f"host: {host}"


names = st.sampled_from(
    [*HOP_BY_HOP, "x-user-did", "X-User-Role", "x_user_did", "cookie", "forwarded", "X-Forwarded-For", "x-real-ip", "x-auth-user", "remote-user",
     "x-original-url", "x-request-id", "via", "authorization", "x-component-did", "x-aigne-hub-client-did", "expect", "traceparent", "host2"]
)  # fmt: skip


@given(st.lists(names, max_size=6), st.lists(names, max_size=3), st.sampled_from(BUILT_IN))
def test_whatever_is_spoofed_or_nominated_ours_arrives_once_and_theirs_never(fields: list[str], nominated: list[str], profile: str) -> None:
    lines = [f"{name}: evil" for name in fields if name not in ("connection", "transfer-encoding", "expect")]
    if nominated:
        lines.append("Connection: " + ", ".join(nominated))
    try:
        head = rewritten(*lines, profile=profile)
    except Refused:
        return
    allowed = {"host2", "x-component-did", "via"} if profile != "aigne" else {"via"}
    for line in head.split("\r\n")[1:]:
        if "evil" in line:
            assert line.partition(":")[0] in allowed, line
    assert head.count("x-request-id: req_1") == 1 and head.count("\r\nauthorization: ") == 1 and head.count("via: 1.1 sidecar-1\r\n") == 1


@pytest.mark.parametrize("in_trace", [True, False])
@pytest.mark.parametrize("token", ["", "a-key-of-some-length"])
def test_what_is_said_of_a_trace_goes_on_with_it_only(in_trace: bool, token: str) -> None:
    """What stands in a tracestate belongs to the spans of its own trace (Trace Context 3.3)."""
    rewriter = RequestRewriter(load_profile("aigne"), HUB, "sidecar-1")
    caller = Caller("key_1", "req_1", "192.0.2.7", "https", "gw.test", CALLER.traceparent, in_trace)
    head = parsed(f"Authorization: Bearer {token}", "Tracestate: vendor=1", "Accept: */*", "TraceState: other=2", f"X-Other: {token}")
    for _ in range(2):
        lines = rewriter.head(head, CHAT.path.encode(), CHAT, caller, Framing(0, False)).decode().split("\r\n")
        states = [line for line in lines if "state" in line.lower()]
        assert states == (["Tracestate: vendor=1", "TraceState: other=2"] if in_trace else []) and "Accept: */*" in lines
    assert (b"tracestate" in rewriter.dropped(head, CHAT, caller)) is not in_trace


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://hub.test/", "hub.test"), ("http://hub.test:80/", "hub.test"), ("https://hub.test/", "hub.test"),
        ("http://hub.test:443/", "hub.test:443"), ("https://hub.test:80/", "hub.test:80"), ("http://[::1]:3000/", "[::1]:3000"),
    ],
)  # fmt: skip
def test_the_hubs_host_has_its_port_unless_the_scheme_says_it(url: str, host: str) -> None:
    assert f"\r\nhost: {host}\r\n" in rewritten(hub=Hub(url=HubUrl.parse(url)))


def test_every_connection_field_of_an_answer_counts() -> None:
    headers = [(b"Connection", b"X-A"), (b"Connection", b"close"), (b"connection", b"x-b"), (b"X-A", b"1"), (b"X-B", b"2"), (b"X-C", b"3")]
    head = AnswerRewriter(load_profile("generic")).head(200, headers, "req_1", b"", limited=False)
    assert head == b"HTTP/1.1 200 OK\r\nX-C: 3\r\nx-request-id: req_1\r\n"


def test_an_answer_loses_hop_by_hop_fields_cookies_and_foreign_limits() -> None:
    headers = [
        (b"Connection", b"keep-alive, X-Private"), (b"X-Private", b"1"), (b"Keep-Alive", b"timeout=5"), (b"Transfer-Encoding", b"chunked"),
        (b"Set-Cookie", b"a=b"), (b"X-RateLimit-Limit-Requests", b"9"), (b"X-Request-Id", b"theirs"), (b"ETag", b"x"), (b"ETag", b"y"),
    ]  # fmt: skip
    answers = AnswerRewriter(load_profile("aigne"))
    head = answers.head(299, headers, "req_1", b"", limited=True)
    assert head == b"HTTP/1.1 299 Unknown\r\nETag: x\r\nETag: y\r\nx-request-id: req_1\r\n"
    assert b"X-RateLimit-Limit-Requests: 9" in answers.head(200, headers, "req_1", b"", limited=False)
