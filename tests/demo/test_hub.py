"""The demo hub against what the real one was seen to do."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from sidecar.demo.hub import options_of, parser
from sidecar.hubs.usage import open_reader
from tests.support.hub import ACCESS_KEY, DemoHub, Options, hub_process, running_hub

KEY = {"Authorization": f"Bearer {ACCESS_KEY}"}
SSE = {"Accept": "text/event-stream"}
CHAT = {"input": {"messages": [{"role": "user", "content": "one two three"}], "modelOptions": {"model": "openai/gpt-5-mini"}}}
COMPLETION = {"model": "openai/gpt-5-mini", "messages": [{"role": "user", "content": "one two three"}]}


@pytest.fixture
async def hub() -> AsyncIterator[DemoHub]:
    async with running_hub() as hub:
        yield hub


@pytest.fixture
async def client(hub: DemoHub) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(hub.url, headers={"User-Agent": "test"}, auto_decompress=False) as client:
        yield client


def chat(model: str, **options: object) -> dict[str, object]:
    return {"input": {"messages": [], "modelOptions": {"model": model}}, "options": options}


async def test_chat_and_the_ledger_agree(hub, client):
    headers = {**KEY, "x-aigne-hub-client-did": "key_1@sidecar", "x-request-id": "req-1"}
    async with client.post("api/v2/chat", json=CHAT, headers=headers) as answer:
        body = await answer.json()
    assert body["usage"]["inputTokens"] == 3
    assert body["modelWithProvider"] == "openai/gpt-5-mini"
    async with client.get("api/user/model-calls?appDid=key_1@sidecar", headers=KEY) as answer:
        calls = await answer.json()
    assert calls["count"] == 1
    call = calls["list"][0]
    assert call["requestId"] == "req-1"
    assert call["id"] == body["usage"]["modelCallId"]
    assert call["usageMetrics"]["outputTokens"] == body["usage"]["outputTokens"]
    async with client.get("api/user/model-calls?appDid=other", headers=KEY) as answer:
        assert (await answer.json())["list"] == []
    async with client.get("api/usage/projects", headers=KEY) as answer:
        assert (await answer.json())["projects"][0]["totalCalls"] == 1


@pytest.mark.parametrize(
    ("path", "body", "accept", "dialect"),
    [
        ("api/v2/chat", CHAT, "", "aigne-chat"),
        ("api/v2/chat", {**CHAT, "options": {"streaming": True}}, "", "aigne-chat"),
        ("api/v2/chat/completions", COMPLETION, "text/event-stream", "aigne-completions"),
        ("api/v2/image", {"input": {"prompt": "a b", "modelOptions": {"model": "m"}}}, "", "aigne-image"),
        ("api/v2/image/generations", {"model": "m", "prompt": "a b", "n": 2}, "", "aigne-image"),
        ("api/v2/video", {"input": {"prompt": "a b", "model": "m"}}, "", "aigne-video"),
        ("api/v2/embeddings", {"input": {"input": ["a b", "c"], "modelOptions": {"model": "m"}}}, "", "aigne-embeddings"),
    ],
)
async def test_what_the_readers_read_is_what_the_ledger_says(hub, client, path, body, accept, dialect):
    async with client.post(path, json=body, headers={**KEY, "Accept": accept or "*/*"}) as answer:
        assert answer.status == 200
        reader = open_reader(dialect, answer.headers.get("Content-Type", ""), answer.headers.get("Content-Encoding", ""))
        reader.feed(await answer.read())
    usage, call = reader.finish(True), hub.aigne.ledger.calls[0]
    assert usage.source == "hub"
    assert not usage.error
    if path != "api/v2/image/generations":
        assert usage.tokens.input == call["usageMetrics"]["inputTokens"]
        assert usage.tokens.output == call["usageMetrics"]["outputTokens"]
    assert usage.tokens.images == call["usageMetrics"]["numberOfImageGeneration"]


async def test_completions_decide_their_form_by_accept(hub, client):
    async with client.post("api/v2/chat/completions", json=COMPLETION, headers=KEY | SSE) as answer:
        text = await answer.text()
    assert text.count('data: {"usage"') == 2
    assert text.endswith("\n\n")
    assert "event: server-timing" in text
    assert "[DONE]" not in text
    async with client.post("api/v2/chat/completions", json={**COMPLETION, "stream": True}, headers=KEY) as answer:
        assert "Content-Type" not in answer.headers
        assert (await answer.text()).startswith('You said "one two three".')
    async with client.post("api/v2/completions", json={"model": "m", "prompt": "hi"}, headers=KEY) as answer:
        assert set(await answer.json()) == {"role", "text", "content"}


async def test_a_long_json_completion_is_compressed(hub, client):
    body = {**COMPLETION, "model": "demo/long:300"}
    async with client.post("api/v2/chat/completions", json=body, headers={**KEY, "Accept-Encoding": "gzip, deflate"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert json.loads(gzip.decompress(await answer.read()))["role"] == "assistant"
    async with client.post("api/v2/chat/completions", json=body, headers={**KEY, "Accept-Encoding": "identity"}) as answer:
        assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer blocklet-wrong"}, {"x-user-did": "z1", "x-user-role": "admin"}])
async def test_v2_refuses_who_has_no_good_access_key(hub, client, headers):
    async with client.post("api/v2/chat", json=CHAT, headers=headers) as answer:
        assert (answer.status, await answer.json()) == (401, {"error": "User not authenticated"})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    async with client.post("api/v2/chat", json=CHAT, headers=headers | SSE) as answer:
        assert (answer.status, await answer.text()) == (200, 'data: {"error":"User not authenticated"}\n\n')


@pytest.mark.parametrize(
    ("headers", "status"),
    [(KEY, 401), ({"x-user-did": "z1", "x-user-role": "guest"}, 403), ({"x-user-did": "z1", "x-user-role": "admin"}, 200)],
)
async def test_v1_takes_the_gateways_headers_and_no_bearer_key(hub, client, headers, status):
    async with client.post("api/v1/chat/completions", json=COMPLETION, headers=headers) as answer:
        assert answer.status == status
    async with client.post("api/v1/sdk/chat/completions", json=COMPLETION, headers=headers) as answer:
        assert answer.status == status
    async with client.patch("api/app/config", json={}, headers=headers) as answer:
        assert answer.status == status


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        (f"?access_token={ACCESS_KEY}", {}, 200),
        ("", {"Cookie": f"login_token={ACCESS_KEY}"}, 200),
        (f"?access_token={ACCESS_KEY}", KEY, 400),
        ("?access_token=x", KEY, 200),
        ("?access_token=x", {"Cookie": "login_token=y"}, 400),
    ],
)
async def test_where_a_credential_may_be(hub, client, query, headers, status):
    async with client.post(f"api/v2/chat{query}", json=CHAT, headers=headers) as answer:
        assert answer.status == status
        assert answer.content_type == ("text/html" if status == 400 else "application/json")


async def test_the_documented_model_prefix_is_refused(hub, client):
    async with client.post("api/v2/chat/completions", json={**COMPLETION, "model": "aignehub/gpt-3.5-turbo"}, headers=KEY) as answer:
        assert answer.status == 400
        assert "No available provider found for model" in (await answer.json())["error"]


@pytest.mark.parametrize(("model", "status"), [("demo/error", 500), ("demo/rate-limited", 429), ("demo/no-credit", 402)])
async def test_failures_of_the_provider(hub, client, model, status):
    async with client.post("api/v2/chat", json=chat(model), headers=KEY) as answer:
        assert answer.status == status
        assert (await answer.json())["error"]["message"]
    async with client.post("api/v2/chat/completions", json={**COMPLETION, "model": model}, headers=KEY) as answer:
        assert (answer.status, await answer.read()) == (200, b"")
    async with client.post("api/v2/chat/completions", json={**COMPLETION, "model": model}, headers=KEY | SSE) as answer:
        assert (await answer.text()).startswith('data: {"error":{"message":')
    async with client.post("api/v2/chat/completions", json={**COMPLETION, "model": model, "stream": True}, headers=KEY) as answer:
        assert (await answer.text()).startswith("ERROR: ")


async def test_a_failure_within_a_stream(hub, client):
    async with client.post("api/v2/chat", json=chat("demo/error", streaming=True), headers=KEY) as answer:
        assert (answer.status, await answer.text()) == (200, 'event: error\ndata: {"message":"provider failed"}\n\n')


@pytest.mark.parametrize("path", ["api/v2/chat", "api/v2/chat/completions"])
async def test_a_stream_that_breaks_off(hub, client, path):
    body = {**COMPLETION, **chat("demo/broken", streaming=True), "model": "demo/broken"}
    async with client.post(path, json=body, headers=KEY | SSE) as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    assert not hub.aigne.ledger.calls


async def test_a_call_whose_client_has_left_is_billed(client):
    async with running_hub(Options(delay=0.01)) as hub, aiohttp.ClientSession(hub.url) as session:
        answer = await session.post("api/v2/chat", json=chat("demo/long:30", streaming=True), headers=KEY)
        await answer.content.readany()
        answer.close()
        async with asyncio.timeout(5):
            while not hub.aigne.ledger.calls:
                await asyncio.sleep(0.01)
        assert hub.aigne.ledger.calls[0]["usageMetrics"]["outputTokens"] == 30


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "__blocklet__.js?type=json", 200),
        ("GET", "api/v2/status", 200),
        ("GET", "api/ai/models?type=chat", 200),
        ("GET", "api/ai-providers/models", 200),
        ("GET", "api/ai-providers/health", 200),
        ("POST", "api/v2/audio/speech", 200),
        ("POST", "api/v2/audio/transcriptions", 200),
        ("GET", "media/uploads/1.png", 200),
        ("GET", "api/app/client/subscription/success?redirect=https://elsewhere.example/", 301),
        ("OPTIONS", "api/v2/chat", 204),
        ("GET", "api/user/info", 401),
        ("POST", "api/chat/completions", 404),
        ("GET", "api/v2/models", 404),
    ],
)
async def test_what_an_anonymous_caller_gets(hub, client, method, path, status):
    async with client.request(method, path, allow_redirects=False) as answer:
        assert answer.status == status
    if path.startswith("__blocklet__"):
        assert answer.content_type == "text/html", "the hub's own port has the page only"


async def test_behind_a_gateway_it_is_mounted():
    async with running_hub(Options(mount="/ai-kit")) as hub, aiohttp.ClientSession() as session:
        assert hub.url.endswith("/ai-kit/")
        async with session.post(f"{hub.url}api/v2/chat", json=CHAT, headers=KEY) as answer:
            assert answer.status == 200
        origin = hub.url.removesuffix("ai-kit/")
        async with session.get(f"{origin}__blocklet__.js?type=json") as answer:
            assert (await answer.json())["componentMountPoints"][0]["mountPoint"] == "/ai-kit"
        async with session.post(f"{origin}api/v2/chat", json=CHAT, headers=KEY) as answer:
            assert answer.status == 404


async def test_too_large_a_body_is_413_without_cors(hub, client):
    async with client.post(
        "api/v2/chat", data=io.BytesIO(b" " * (31 << 20)), headers={**KEY, "Content-Type": "application/json"}
    ) as answer:
        assert answer.status == 413
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_every_request_is_recorded_as_it_came(hub):
    head = b"POST /api/v2/chat?a=%2Fb HTTP/1.1\r\nHost: x\r\nX-Odd: 1\r\nx-odd: 2\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
    host, _, port = hub.url.removeprefix("http://").rstrip("/").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head + b"\0\xff")
    await reader.read()
    writer.close()
    await writer.wait_closed()
    (recorded,) = hub.requests
    assert recorded.head == head
    assert recorded.values("x-odd") == ["1", "2"]
    assert recorded.value("x-odd") is None
    assert recorded.value("host") == "x"
    assert (recorded.body, recorded.length, recorded.complete) == (b"\0\xff", 2, True)
    assert (hub.requests.peak, hub.requests.in_flight, hub.requests.seen) == (1, 0, 1)
    hub.requests.clear()
    assert len(hub.requests) == 0


async def test_on_a_unix_socket(tmp_path: Path):
    socket = tmp_path / "hub.sock"
    connector = aiohttp.UnixConnector(str(socket))
    async with (
        running_hub(unix=socket),
        aiohttp.ClientSession(connector=connector) as session,
        session.get("http://hub/api/v2/status") as answer,
    ):
        assert await answer.json() == {"available": True}


def test_as_a_process_of_its_own():
    async def ask(url: str) -> int:
        async with aiohttp.ClientSession() as session, session.post(f"{url}v1/chat/completions", json=COMPLETION, headers=KEY) as answer:
            return answer.status

    with hub_process("--protocol", "openai") as hub:
        assert asyncio.run(ask(hub.url)) == 200
        (recorded,) = hub.requests()
        assert json.loads(recorded["body"]) == COMPLETION
        hub.clear()
        assert hub.requests() == []
    assert hub.process.returncode == 0


@pytest.mark.parametrize(("arguments", "remembered"), [([], 0), (["--record"], 1)])
async def test_nothing_is_remembered_that_nobody_asks_for(arguments, remembered):
    """Who tries the demo with large uploads has no use for all of them in its memory."""
    async with running_hub(options_of(parser().parse_args(arguments))) as hub, aiohttp.ClientSession(hub.url) as client:
        async with client.post("api/v2/audio/transcriptions", data=b"12345", headers=KEY) as answer:
            assert await answer.json() == {"text": "5 bytes of silence."}
        assert len(hub.requests) == remembered
        assert hub.requests.seen == 1
