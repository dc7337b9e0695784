"""What holds for every call: who may, from where, how refusals look, and what never happens."""

from __future__ import annotations

import asyncio
import io
import json
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sidecar.control.admin.authentication import Actor
from sidecar.control.admin.endpoints import ENDPOINTS
from sidecar.control.admin.openapi import problems
from sidecar.control.admin.services import AdminServices
from tests.control.admin.conftest import Api, serve
from tests.support.store import Server, until

FORM = {"message", "type", "param", "code"}


def example(path: str) -> str:
    """A path with its parameters filled in."""
    return (
        path.replace("{key_id}", f"key_{'0' * 16}")
        .replace("{secret_id}", f"sec_{'0' * 16}")
        .replace("{token_id}", f"sat_{'0' * 16}")
        .replace("{anomaly_id}", "ano_0")
    )


async def test_without_a_token(api: Api) -> None:
    status, body, response = await api.call("GET", "/admin/v1/keys", token="")
    assert (status, body["error"]["code"], set(body["error"])) == (401, "missing_admin_token", FORM)
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="sidecar-admin"'


@pytest.mark.parametrize("authorization", ["Bearer nonsense", "Bearer ", "Basic YTpi", "bearer sat_x", "Bearer a b", "Bearer é"])
async def test_a_wrong_token(api: Api, authorization: str) -> None:
    status, body, response = await api.call("GET", "/admin/v1/keys", headers={"Authorization": authorization})
    assert (status, body["error"]["code"]) == (401, "invalid_admin_token")
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]


async def test_the_scheme_has_no_case(api: Api) -> None:
    assert (await api.call("GET", "/admin/v1/keys", headers={"Authorization": f"bearer {api.token}"}))[0] == 200


async def test_an_api_key_is_no_admin_token(api: Api) -> None:
    _, secret = await api.key()
    status, body, _ = await api.call("GET", "/admin/v1/keys", token=secret)
    assert (status, body["error"]["code"]) == (401, "invalid_admin_token")
    assert "API keys are not accepted here" in body["error"]["message"]


async def test_a_guesser_is_slowed_down_and_a_known_operator_is_not(api: Api) -> None:
    assert (await api.call("GET", "/admin/v1/whoami"))[0] == 200
    statuses = [(await api.call("GET", "/admin/v1/whoami", token=f"guess{number}"))[0] for number in range(30)]
    assert statuses == [401] * 20 + [429] * 10
    status, body, response = await api.call("GET", "/admin/v1/whoami", token="guess")
    assert (status, body["error"]["code"]) == (429, "too_many_failures")
    assert int(response.headers["Retry-After"]) >= 1
    assert (await api.call("GET", "/admin/v1/whoami"))[0] == 200
    events = await api.events("action=admin.authentication_failed")
    assert len(events) == 5
    assert {event["outcome"] for event in events} == {"denied"}
    assert events[0]["source"]["address"] == "127.0.0.1"


async def test_roles(api: Api) -> None:
    viewer, operator = await api.admin_token("viewer"), await api.admin_token("operator")
    ranks = {"viewer": 0, "operator": 1, "admin": 2}
    for endpoint in ENDPOINTS:
        if endpoint.role is None:
            continue
        for token, rank in ((viewer, 0), (operator, 1)):
            status, body, _ = await api.call(endpoint.method, example(endpoint.path), token=token)
            if rank < ranks[endpoint.role]:
                assert (status, body["error"]["code"], body["error"]["type"]) == (403, "forbidden", "permission_error"), endpoint.name
            else:
                assert status not in (401, 403), endpoint.name
    assert (await api.events("action=admin.forbidden"))[0]["actor"]["name"] in ("viewer", "operator")


@pytest.mark.parametrize(
    ("method", "path", "target"),
    [
        ("POST", "/admin/v1/keys/{key_id}/revoke", {"type": "api_key", "id": f"key_{'0' * 16}", "name": ""}),
        ("POST", "/admin/v1/keys/{key_id}/secrets/{secret_id}/revoke", {"type": "api_key", "id": f"key_{'0' * 16}", "name": ""}),
        ("DELETE", "/admin/v1/admin-tokens/{token_id}", {"type": "admin_token", "id": f"sat_{'0' * 16}", "name": ""}),
        ("POST", "/admin/v1/anomalies/{anomaly_id}/acknowledge", {"type": "anomaly", "id": "ano_0", "name": ""}),
        ("POST", "/admin/v1/keys", None),
    ],
)
async def test_a_forbidden_act_is_recorded_with_what_it_was_aimed_at(
    api: Api, method: str, path: str, target: dict[str, str] | None
) -> None:
    assert (await api.call(method, example(path), token=await api.admin_token("viewer")))[0] == 403
    event = (await api.events("action=admin.forbidden"))[0]
    assert event["target"] == target
    if target is not None:
        assert await api.events(f"action=admin.forbidden&target={target['id']}") == [event]


async def test_a_revoked_admin_token_is_dead(api: Api) -> None:
    token = await api.admin_token("viewer")
    _, body, _ = await api.call("GET", "/admin/v1/admin-tokens")
    ids = {one["name"]: one["id"] for one in body["data"]}
    assert (await api.call("DELETE", f"/admin/v1/admin-tokens/{ids['viewer']}"))[0] == 200
    assert (await api.call("GET", "/admin/v1/whoami", token=token))[0] == 401
    status, body, _ = await api.call("DELETE", f"/admin/v1/admin-tokens/{ids['first']}")
    assert (status, body["error"]["code"]) == (409, "conflict")
    assert (await api.call("DELETE", f"/admin/v1/admin-tokens/{ids['viewer']}"))[0] == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8081", 200),
        ("localhost", 200),
        ("LOCALHOST:80", 200),
        ("console.example:8081", 200),
        ("[::1]:8081", 200),
        ("10.1.2.3", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:8081", 421),
        ("127.0.0.1@evil.example", 421),
    ],
)
async def test_foreign_host_names_are_refused(api: Api, host: str, status: int) -> None:
    found, body, _ = await api.call("GET", "/admin/v1/whoami", headers={"Host": host})
    assert found == status
    if status == 421:
        assert body["error"]["code"] == "host_not_allowed"


async def test_headers_of_every_answer(api: Api) -> None:
    for method, path, token in (
        ("GET", "/admin/v1/keys", None),
        ("GET", "/admin/v1/keys", ""),
        ("GET", "/nothing", None),
        ("PUT", "/admin/v1/keys", None),
    ):
        _, _, response = await api.call(method, path, token=token, headers={"Origin": "https://evil.example"})
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["X-Request-Id"]
        assert not [name for name in response.headers if name.lower().startswith("access-control-")]


async def test_request_ids(api: Api) -> None:
    _, _, response = await api.call("GET", "/admin/v1/keys", headers={"X-Request-Id": "mine-1"})
    assert response.headers["X-Request-Id"] == "mine-1"
    _, _, response = await api.call("GET", "/admin/v1/keys", headers={"X-Request-Id": "bad id" * 20})
    assert response.headers["X-Request-Id"].startswith("req_")


async def test_headers_that_are_no_text_do_no_harm(api: Api) -> None:
    host, port = api.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = b'{"name":"raw"}'
    writer.write(
        b"POST /admin/v1/keys HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nUser-Agent: \xff\xfe cafe\r\nX-Request-Id: \xff\r\n"
        b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s" % (api.token.encode(), len(body), body)
    )
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert (await api.events("action=api_key.created"))[0]["source"]["agent"] == "?? cafe"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/admin/v1/nothing", 404, "not_found"),
        ("GET", "/admin/v1/keys/import", 405, "method_not_allowed"),
        ("PUT", "/admin/v1/keys", 405, "method_not_allowed"),
        ("PATCH", "/admin/v1/keys/identify", 405, "method_not_allowed"),
        ("OPTIONS", "/admin/v1/keys", 405, "method_not_allowed"),
        ("DELETE", "/admin/v1/usage", 405, "method_not_allowed"),
    ],
)
async def test_what_is_not_there(api: Api, method: str, path: str, status: int, code: str) -> None:
    found, body, response = await api.call(method, path)
    assert (found, body["error"]["code"]) == (status, code)
    assert ("Allow" in response.headers) is (status == 405)


async def test_head_is_get_without_a_body(api: Api) -> None:
    status, body, response = await api.call("HEAD", "/admin/v1/keys")
    assert (status, body) == (200, "")
    assert response.headers["Content-Type"].startswith("application/json")
    assert (await api.call("HEAD", "/admin/v1/requests", headers={"Accept": "text/csv"}))[0] == 200


@pytest.mark.parametrize("chunked", [True, False])
async def test_bodies_have_a_bound(api: Api, chunked: bool) -> None:
    async def pieces() -> Any:
        for _ in range(20):
            yield b" " * 65536

    data = pieces() if chunked else io.BytesIO(b" " * (1 << 20) + b"{}")
    status, body, _ = await api.call("POST", "/admin/v1/keys", data=data)
    assert (status, body["error"]["code"]) == (413, "request_too_large")


async def test_a_body_in_another_encoding_than_it_says_is_the_client_s_fault(api: Api) -> None:
    host, port = api.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /admin/v1/keys HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Encoding: gzip\r\n"
        b"Authorization: Bearer %s\r\nContent-Length: 2\r\n\r\n{}" % api.token.encode()
    )
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ") and b"Content-Encoding" in answer


async def test_curl_without_a_content_type_works(api: Api) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    status, _, _ = await api.call("POST", "/admin/v1/keys", data=b'{"name":"curl"}', headers=headers)
    assert status == 201


async def test_a_store_that_is_down_is_no_401(api: Api, valkey: Server) -> None:
    valkey.kill()
    status, body, response = await api.call("GET", "/admin/v1/keys")
    assert (status, body["error"]["code"]) == (503, "key_store_unavailable")
    assert int(response.headers["Retry-After"]) >= 1


async def test_a_store_that_lost_everything_is_no_404(api: Api, valkey: Server) -> None:
    key, _ = await api.key()
    assert valkey.command("FLUSHALL").startswith(b"+OK")
    status, body, _ = await api.call("GET", f"/admin/v1/keys/{key['id']}")
    assert status == 503
    assert "sidecar store adopt" in body["error"]["message"]


async def test_a_failure_of_ours_says_nothing_of_it(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("internal words")

    api.recorded.calls = broken
    status, body, _ = await api.call("GET", "/admin/v1/requests")
    assert (status, body["error"]["code"]) == (500, "internal_error")
    assert "internal words" not in json.dumps(body)
    assert "internal words" in caplog.text


async def test_a_client_that_leaves_in_the_middle_leaves_no_act_unrecorded(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, left = asyncio.Event(), asyncio.Event()
    create = api.services.keys.create

    async def slowly(*args: Any, **kwargs: Any) -> Any:
        begun.set()
        await left.wait()
        return await create(*args, **kwargs)

    monkeypatch.setattr(api.services.keys, "create", slowly)
    task = asyncio.create_task(api.call("POST", "/admin/v1/keys", {"name": "gone"}))
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    left.set()

    async def recorded() -> bool:
        await api.services.audit.settle()
        return len(await api.events("action=api_key.created")) == 1

    # Whether the act was done or given up, its record says that it was begun.
    await until(recorded)
    assert await api.services.keys.count() <= 1


def test_every_refusal_is_declared() -> None:
    for endpoint in ENDPOINTS:
        statuses = {problem.status for problem in problems(endpoint)}
        assert {400, 421, 500} <= statuses
        assert (401 in statuses) is (endpoint.role is not None)


class Console:
    """A session of an operator for every request with the cookie."""

    async def actor(self, request: web.Request) -> Actor | None:
        return Actor("session", "ses_1", "Olga", "operator") if "session" in request.cookies else None


@pytest.mark.parametrize(
    ("content_type", "status"),
    [("application/json", 201), ("text/plain", 415), ("application/x-www-form-urlencoded", 415), ("multipart/form-data; boundary=x", 415)],
)
async def test_a_page_of_another_site_cannot_use_the_console_s_session(services: AdminServices, content_type: str, status: int) -> None:
    async with AsyncExitStack() as stack:
        base = await serve(stack, replace(services, sessions=Console()))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        headers = {"Content-Type": content_type, "Cookie": "session=1"}
        async with session.post(f"{base}/admin/v1/keys", data=b'{"name":"a"}', headers=headers) as response:
            assert response.status == status
        async with session.get(f"{base}/admin/v1/whoami", headers={"Cookie": "session=1"}) as response:
            assert (await response.json())["actor"]["type"] == "session"
        async with session.get(f"{base}/admin/v1/whoami") as response:
            assert response.status == 401
