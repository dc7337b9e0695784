"""The whole line: every refusal of the contract that needs no store, in its form, and what is counted for it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import msgspec
import pytest

from sidecar.keys.record import Key, Limits
from sidecar.limits.decision import Admission, Window
from sidecar.worker import forward
from tests.worker.plane import HubSide, Plane, endless, running, until


def parse(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split()[1]), fields, body


def code(body: bytes) -> str:
    error = msgspec.json.decode(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return str(error["code"])


async def ask(plane: Plane, raw: bytes) -> tuple[int, str, dict[str, str]]:
    status, fields, body = parse(await plane.exchange(raw))
    return status, code(body), fields


async def test_without_a_credential_nothing_is_said_of_errors_or_routes() -> None:
    async with running(profile="aigne") as plane:
        for path in ("/api/v2/chat", "/no/such/path"):
            status, reason, fields = await ask(plane, f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            assert (status, reason) == (401, "missing_api_key")
            assert fields["www-authenticate"] == 'Bearer realm="aigne-hub"'
        assert fields["cache-control"] == "no-store" and fields["access-control-allow-origin"] == "*"
        assert fields["x-request-id"] == plane.events.requests[-1].request_id
        assert [event.key_id for event in plane.events.requests] == ["", ""]
        assert not plane.hub.seen


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        ({"revoked_at": 1.0}, 401, "api_key_revoked"),
        ({"disabled": True}, 401, "api_key_disabled"),
        ({"expires_at": 1.0}, 401, "api_key_expired"),
        ({"expires_at": time.time() + 86400}, 200, ""),
        ({"allowed_ips": ("10.0.0.0/8",)}, 403, "ip_not_allowed"),
        ({"allowed_ips": ()}, 403, "ip_not_allowed"),
        ({"allowed_ips": ("127.0.0.0/8", "::1/128")}, 200, ""),
        ({"allowed_routes": ("image",)}, 403, "route_not_allowed"),
        ({"allowed_routes": ()}, 403, "route_not_allowed"),
        ({"allowed_routes": ("chat",)}, 200, ""),
        ({"allowed_routes": ("POST /api/v2/*",)}, 200, ""),
        ({"allowed_models": ("openai/gpt-4",)}, 403, "model_not_allowed"),
        ({"allowed_models": ()}, 403, "model_not_allowed"),
        ({"allowed_models": ("openai/gpt-5",)}, 200, ""),
        ({"throttled_until": time.time() + 86400}, 429, "abnormal_usage_detected"),
    ],
)
async def test_what_a_key_says_is_enforced(fields: dict[str, object], status: int, reason: str) -> None:
    async with running(profile="aigne") as plane:
        plane.keys.change(plane.key, **fields)
        answer = await plane.exchange(plane.post(b'{"input":{"modelOptions":{"model":"openai/gpt-5"}}}', "/api/v2/chat"))
        got, _, body = parse(answer)
        assert got == status
        event = plane.events.requests[0]
        if reason:
            assert code(body) == reason and not plane.hub.seen
            assert (event.key_id, event.reason, event.status) == ("key_0000000000000000", reason, status)
        else:
            assert (event.outcome, event.model) == ("ok", "openai/gpt-5")


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        ("Authorization: Basic eDp5", 401, "invalid_api_key"),
        ("Authorization:", 401, "missing_api_key"),
        ("Authorization: Bearer", 401, "missing_api_key"),
        ("Authorization: Bearer ahk_nonsense", 401, "invalid_api_key"),
        ("Authorization: Bearer blocklet-z8ia3", 401, "invalid_api_key"),
        ("Authorization: Bearer {key}, Bearer other", 400, "invalid_request"),
        ("Authorization: Bearer {key}\r\nAuthorization: Bearer {key}", 400, "invalid_request"),
        ("Authorization: Bearer {key}\r\nauthorization: Bearer other", 400, "invalid_request"),
        ("Authorization: bearer {key}", 200, ""),
        ("Proxy-Authorization: Bearer {key}", 401, "missing_api_key"),
        ("Cookie: login_token={key}", 401, "missing_api_key"),
        ("X-Api-Key: {key}", 401, "missing_api_key"),
    ],
)
async def test_exactly_one_bearer_credential(line: str, status: int, reason: str) -> None:
    async with running() as plane:
        raw = f"GET /v1/x HTTP/1.1\r\nHost: a\r\n{line.format(key=plane.key)}\r\nConnection: close\r\n\r\n"
        got, fields, body = parse(await plane.exchange(raw.encode()))
        assert got == status
        if reason:
            assert code(body) == reason
        if reason == "invalid_api_key":
            assert 'error="invalid_token"' in fields["www-authenticate"]


@pytest.mark.parametrize("query", ["access_token=x", "a=1&access_token=x", "access%5Ftoken=x", "access_token", "access_token[]=x"])
async def test_a_second_credential_in_the_query_is_refused(query: str) -> None:
    async with running() as plane:
        status, reason, _ = await ask(plane, plane.get(f"/v1/x?{query}"))
        assert (status, reason) == (400, "invalid_request") and not plane.hub.seen


async def test_an_unreachable_store_is_503_and_never_401() -> None:
    async with running() as plane:
        plane.keys.cold.add(plane.key.encode())
        plane.keys.away = True
        status, reason, fields = await ask(plane, plane.get())
        assert (status, reason) == (503, "key_store_unavailable") and int(fields["retry-after"]) >= 1


async def test_paths_that_the_profile_does_not_name_are_404_and_other_methods_405() -> None:
    async with running(profile="aigne") as plane:
        for path in (
            "/.well-known/service/api/access-key",
            "/api/app/config",
            "/api/ai-providers/health",
            "/websocket",
            "/api/v1/embeddings",
        ):
            assert (await ask(plane, plane.get(path)))[:2] == (404, "unknown_route")
        status, reason, fields = await ask(plane, plane.get("/api/v2/chat"))
        assert (status, reason) == (405, "method_not_allowed") and "POST" in fields["allow"]
        assert not plane.hub.seen


async def test_options_and_the_handshake_need_no_key() -> None:
    async with running(profile="aigne") as plane:
        raw = b"OPTIONS /api/v2/chat HTTP/1.1\r\nHost: a\r\nAccess-Control-Request-Headers: authorization\r\nConnection: close\r\n\r\n"
        status, fields, _ = parse(await plane.exchange(raw))
        assert status == 204 and fields["access-control-allow-headers"] == "authorization"
        status, fields, body = parse(
            await plane.exchange(b"GET /__blocklet__.js?type=json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        )
        assert status == 200 and msgspec.json.decode(body)["componentMountPoints"][0]["mountPoint"] == "/"
        assert not plane.hub.seen


async def test_the_model_prefix_is_cut_in_place_and_all_else_is_untouched() -> None:
    body = b'{ "model" : "aignehub/openai/gpt-3.5-turbo",  "messages":[{"role":"user","content":"aignehub/ stays"}] }'
    async with running(profile="aigne") as plane:
        assert b"200 OK" in await plane.exchange(plane.post(body, "/api/v1/chat/completions"))
        seen = plane.hub.seen[0]
        assert seen.request_line == "POST /api/v2/chat/completions HTTP/1.1"
        assert seen.body == body.replace(b'"aignehub/openai', b'"openai', 1)
        assert seen.field("content-length") == str(len(seen.body))


@pytest.mark.parametrize("mode", ["shadow", "off"])
async def test_shadow_and_off_let_through_and_only_shadow_counts(mode: str) -> None:
    async with running() as plane:
        key = plane.keys.issue(allowed_routes=(), enforcement=mode)
        assert b"200 OK" in await plane.exchange(plane.get(key=key))
        event = plane.events.requests[0]
        assert event.outcome == "ok" and event.shadow == ("route_not_allowed" if mode == "shadow" else "")


@pytest.mark.parametrize(
    ("configured", "own", "status", "shadow"),
    [
        ("enforce", "off", b"401", ""),
        ("enforce", "shadow", b"401", ""),
        ("shadow", None, b"200", "api_key_revoked"),
        ("shadow", "off", b"200", ""),
        ("shadow", "enforce", b"401", ""),
        ("off", "shadow", b"200", "api_key_revoked"),
        ("off", "enforce", b"401", ""),
    ],
)
async def test_no_mode_of_a_keys_own_keeps_it_alive(configured: str, own: str | None, status: bytes, shadow: str) -> None:
    async with running(environment={"SIDECAR__ENFORCEMENT": configured}) as plane:
        key = plane.keys.issue(revoked_at=1.0, enforcement=own)
        assert (await plane.exchange(plane.get(key=key))).startswith(b"HTTP/1.1 " + status)
        assert plane.events.requests[0].shadow == shadow


async def test_a_limited_key_is_admitted_and_released_and_told_its_limits() -> None:
    class Two:
        def __init__(self) -> None:
            self.admitted = 0
            self.released: list[int | None] = []

        async def admit(self, key: Key, request_id: str, tokens: int) -> Admission:
            self.admitted += 1
            if self.admitted > 1:
                return Admission(allowed=False, reason="rpm", retry_after=12.3, requests=Window(1, 0, 12.3), key_id=key.id)
            return Admission(requests=Window(1, 0, 60.0), key_id=key.id)

        def release(self, admission: Admission, tokens: int | None, metered: int) -> None:
            self.released.append(tokens)

    async with running() as plane:
        two = Two()
        plane.plane.front.serving._limit._limiter = two
        plane.keys.change(plane.key, limits=Limits(rpm=1))

        async def with_limits(side: HubSide) -> None:
            await side.send(b"HTTP/1.1 200 OK\r\nX-RateLimit-Limit-Requests: 999\r\nContent-Length: 0\r\n\r\n")

        plane.hub.answer = with_limits
        status, fields, _ = parse(await plane.exchange(plane.get()))
        assert status == 200 and fields["x-ratelimit-limit-requests"] == "1" and fields["x-ratelimit-reset-requests"] == "1m0s"
        status, reason, fields = await ask(plane, plane.get())
        assert (status, reason, fields["retry-after"]) == (429, "rate_limit_exceeded", "13")
        assert fields["x-ratelimit-remaining-requests"] == "0"
        assert two.released == [None] and len(plane.hub.seen) == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\nX-RateLimit-Limit-Requests: 999\r\nContent-Length: 0\r\n\r\n", "hub_rejected_credential"),
        (b"SSH-2.0-x\r\n\r\n", "hub_unavailable"),
    ],
)
async def test_a_limited_key_is_told_its_limits_when_the_hub_fails_too(answer: bytes, reason: str) -> None:
    class One:
        async def admit(self, key: Key, request_id: str, tokens: int) -> Admission:
            return Admission(requests=Window(5, 4, 60.0), tokens=Window(900, 800, 1.5), key_id=key.id)

        def release(self, admission: Admission, tokens: int | None, metered: int) -> None:
            pass

    async def broken(side: HubSide) -> None:
        await side.send(answer)

    async with running() as plane:
        plane.plane.front.serving._limit._limiter = One()
        plane.keys.change(plane.key, limits=Limits(rpm=5, tpm=900))
        plane.hub.answer = broken
        raw = await plane.exchange(plane.get())
        status, fields, body = parse(raw)
        assert (status, code(body)) == (502, reason)
        assert {name: value for name, value in fields.items() if name.startswith("x-ratelimit-")} == {
            "x-ratelimit-limit-requests": "5",
            "x-ratelimit-remaining-requests": "4",
            "x-ratelimit-reset-requests": "1m0s",
            "x-ratelimit-limit-tokens": "900",
            "x-ratelimit-remaining-tokens": "800",
            "x-ratelimit-reset-tokens": "1.5s",
        }
        assert raw.lower().count(b"x-ratelimit-limit-requests") == 1


async def test_a_revoked_key_cuts_its_open_stream() -> None:
    async with running() as plane:
        plane.hub.answer = endless
        reader, writer = await plane.open()
        writer.write(plane.get())
        await reader.readuntil(b"1\r\nx\r\n")
        key = plane.keys.change(plane.key, name="renamed")
        plane.plane.open.key_changed(key.id)
        await asyncio.sleep(0.05)
        assert not reader.at_eof()
        plane.keys.change(plane.key, revoked_at=time.time())
        plane.keys.away = True
        plane.plane.open.key_changed(None)
        await asyncio.sleep(0.05)
        assert not reader.at_eof(), "a store that is away cuts nothing"
        plane.keys.away = False
        plane.plane.open.key_changed(None)
        rest = b""
        with contextlib.suppress(ConnectionResetError):
            rest = await asyncio.wait_for(reader.read(-1), 30)
        assert b"0\r\n\r\n" not in rest
        (event,) = await plane.event()
        assert (event.outcome, event.reason, event.ending) == ("denied", "api_key_revoked", "revoked")


async def test_an_answer_that_breaks_off_by_a_fault_of_ours_is_no_good_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Faulty:
        def feed(self, chunk: bytes) -> None:
            raise ArithmeticError(chunk)

    monkeypatch.setattr(forward, "open_reader", lambda *_: Faulty())
    async with running() as plane:
        plane.hub.answer = endless
        with contextlib.suppress(ConnectionResetError):
            assert b"\r\n0\r\n\r\n" not in await plane.exchange(plane.get())
        (event,) = await plane.event()
        assert (event.status, event.outcome, event.reason, event.ending) == (200, "sidecar_error", "internal_error", "refused")


async def test_our_own_via_is_a_loop() -> None:
    async with running() as plane:
        assert (await ask(plane, plane.get(fields="Via: 1.1 other, 1.1 sidecar-test\r\n")))[0] == 508
        assert b"200 OK" in await plane.exchange(plane.get(fields="Via: 1.1 other\r\n"))
        assert plane.hub.seen[0].field("via") == "1.1 sidecar-test"


async def test_beyond_its_capacity_the_worker_refuses_early() -> None:
    release = asyncio.Event()

    async def wait(side: HubSide) -> None:
        await release.wait()
        await side.send(plane.hub.OK)

    async with running(environment={"SIDECAR_PROXY__BOUNDS__REQUESTS": "2"}) as plane:
        plane.hub.answer = wait
        waiting = [asyncio.create_task(plane.exchange(plane.get())) for _ in range(2)]
        async with asyncio.timeout(2):
            while len(plane.hub.seen) < 2:
                await asyncio.sleep(0.005)
        status, reason, fields = await ask(plane, plane.get())
        assert (status, reason) == (503, "overloaded") and "retry-after" in fields
        release.set()
        assert all(b"200 OK" in answer for answer in await asyncio.gather(*waiting))


@pytest.mark.parametrize("fields", ["Content-Encoding: br\r\n", "Content-Encoding: identity\r\nContent-Encoding: br\r\n"])
async def test_a_coded_body_is_refused_where_its_model_must_be_checked(fields: str) -> None:
    async with running(profile="openai") as plane:
        plane.keys.change(plane.key, allowed_models=("a",))
        status, reason, _ = await ask(plane, plane.post(b'{"model":"a"}', fields=fields))
        assert (status, reason) == (400, "invalid_request")
        assert not plane.hub.seen


@pytest.mark.parametrize("models", [None, ("whisper",)])
async def test_a_form_is_forwarded_alike_however_it_was_sent(models: tuple[str, ...] | None) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\naignehub/whisper\r\n--b--\r\n'
    async with running(profile="aigne") as plane:
        plane.keys.change(plane.key, allowed_models=models)
        raw = plane.post(body, "/api/v2/audio/transcriptions").replace(b"application/json", b"multipart/form-data; boundary=b")
        assert (await plane.exchange(raw)).startswith(b"HTTP/1.1 200 ")
        reader, writer = await plane.open()
        writer.write(raw[:-40])
        await until(lambda: len(plane.plane.open))
        writer.write(raw[-40:])
        assert (await reader.read(-1)).startswith(b"HTTP/1.1 200 ")
        at_once, in_pieces = (side.body for side in plane.hub.seen)
        assert at_once == in_pieces == (body if models is None else body.replace(b"aignehub/", b""))


async def test_a_retiring_secret_is_told_so() -> None:
    async with running() as plane:
        found = plane.keys.found[plane.key.encode()]
        secret = msgspec.structs.replace(found.secret, state="retiring", retired_at=1000.0, expires_at=4_000_000_000.0)
        plane.keys.found[plane.key.encode()] = type(found)(found.key, secret)
        _, fields, _ = parse(await plane.exchange(plane.get()))
        assert fields["deprecation"] == "@1000" and fields["sunset"].endswith("GMT")


async def test_no_secret_comes_back_in_any_refusal() -> None:
    async with running() as plane:
        for raw in (
            b"GET / HTTP/1.1\r\nAuthorization: Bearer %b\r\n\r\n" % plane.key.encode(),
            b"GET /%b HTTP/9.9\r\nHost: a\r\n\r\n" % plane.key.encode(),
            b"GET /?access_token=%b HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer x\r\n\r\n" % plane.key.encode(),
            b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\x00\r\n\r\n" % plane.key.encode(),
        ):
            assert plane.key.encode() not in await plane.exchange(raw)


async def test_a_client_without_an_address_is_told_with_none(tmp_path: Path) -> None:
    """On a unix socket only a proxy that is believed knows one."""
    environment = {"SIDECAR_PROXY__TRUSTED_PROXIES": "127.0.0.0/8"}
    async with running(profile="aigne", unix=tmp_path / "gw.sock", environment=environment) as plane:
        for fields in ("", "X-Forwarded-For: nonsense\r\n", "X-Forwarded-For: 203.0.113.9\r\n"):
            assert b"200 OK" in await plane.exchange(plane.post(b"{}", "/api/v2/chat", fields=fields))
        told = [[(name, value) for name, value in side.fields() if name in ("x-forwarded-for", "x-real-ip")] for side in plane.hub.seen]
        assert told == [[], [], [("x-forwarded-for", "203.0.113.9"), ("x-real-ip", "203.0.113.9")]]
        assert all(side.field("x-aigne-hub-client-did") for side in plane.hub.seen)
