from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from sidecar.cli.doctor import hub
from sidecar.cli.doctor.hub import Answer
from sidecar.hubs.blocklet import AI_KIT_DID
from sidecar.settings import load
from tests.support.ports import free_port

KEY = "blocklet-abc"
Handler = Callable[[web.Request], Awaitable[web.Response]]


def points(mount: str, did: str = AI_KIT_DID) -> Answer:
    return Answer(200, {"componentMountPoints": [{"did": "other", "mountPoint": "/x"}, {"did": did, "mountPoint": mount}]})


@pytest.mark.parametrize(
    ("answer", "mount", "verdict", "word"),
    [
        (points("/ai-kit"), "/ai-kit", "ok", "gateway"),
        (points("/ai-kit"), "", "fail", "/ai-kit"),
        (points("/"), "", "ok", "gateway"),
        (points("/ai-kit", "somebody"), "/ai-kit", "warn", "no AIGNE Hub"),
        (Answer(404), "", "ok", "own port"),
        (Answer(404), "/ai-kit", "warn", "path"),
        (Answer(200), "", "ok", "own port"),
        (Answer(200, {"componentMountPoints": "nonsense"}), "", "warn", "no AIGNE Hub"),
        (Answer(200, {"componentMountPoints": 1}), "", "warn", "no AIGNE Hub"),
        (Answer(200, []), "", "ok", "own port"),
    ],
)
def test_the_shape_of_the_hub(answer: Answer, mount: str, verdict: str, word: str) -> None:
    check = hub.judge_shape(answer, mount)
    assert check.verdict == verdict
    assert word in check.finding


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (Answer(200, {"available": True}), "ok"),
        (Answer(200, {"available": False, "type": "NOT_ENOUGH"}), "warn"),
        (Answer(200, {}), "fail"),
        (Answer(404), "fail"),
    ],
)
def test_the_status_of_the_hub(answer: Answer, verdict: str) -> None:
    assert hub.judge_status(answer).verdict == verdict


@pytest.mark.parametrize(
    ("answer", "has_key", "verdict"),
    [
        (Answer(200, {"user": {"role": "member"}}), True, "ok"),
        (Answer(200, {"user": {"role": "admin"}}), True, "warn"),
        (Answer(200, {"role": "owner"}), True, "warn"),
        (Answer(200, "text"), True, "ok"),
        (Answer(401), True, "fail"),
        (Answer(403), True, "fail"),
        (Answer(500), True, "warn"),
        (Answer(200), False, "fail"),
    ],
)
def test_the_key_of_the_hub(answer: Answer, has_key: bool, verdict: str) -> None:
    check = hub.judge_key(answer, has_key=has_key)
    assert check.verdict == verdict
    assert bool(check.advice) == (verdict != "ok")


@pytest.mark.parametrize(
    ("answer", "verdict", "finding"),
    [
        (Answer(200, {"data": [{"id": "a"}, {"id": "b"}]}), "ok", "2 models"),
        (Answer(200, {"data": None}), "ok", "0 models"),
        (Answer(200, {"data": 3}), "ok", "0 models"),
        (Answer(200), "warn", "answers 200"),
        (Answer(401), "fail", "refuses"),
    ],
)
def test_the_models_of_a_hub(answer: Answer, verdict: str, finding: str) -> None:
    check = hub.judge_models(answer)
    assert check.verdict == verdict
    assert finding in check.finding


@pytest.fixture
async def fake() -> AsyncIterator[tuple[str, list[str]]]:
    """A hub on its own port that takes `KEY`, and the requests that it saw."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(f"{request.method} {request.raw_path}")
        authorized = request.headers.get("Authorization") == f"Bearer {KEY}"
        if request.path == "/api/v2/status":
            return web.json_response({"available": authorized})
        if request.path == "/api/user/info":
            return web.Response(text=json.dumps({"user": {"role": "guest"}}), status=200 if authorized else 401)
        return web.Response(status=401 if request.path == "/api/v1/status" else 404, text="<html>")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}/", seen
    await runner.cleanup()


@pytest.mark.parametrize(("key", "verdict"), [(KEY, "ok"), ("blocklet-wrong", "fail")])
async def test_a_hub_is_asked_and_no_model_is_called(fake: tuple[str, list[str]], key: str, verdict: str) -> None:
    url, seen = fake
    settings = load(None, {"SIDECAR_HUB__URL": url, "SIDECAR_HUB__ACCESS_KEY": key})
    checks = [check async for check in hub.checks(settings)]
    assert {check.name: check.verdict for check in checks}["hub key"] == verdict
    assert [check.name for check in checks] == ["hub", "hub shape", "hub status", "hub key", "hub v1"]
    assert all(line.startswith("GET ") for line in seen)


async def test_an_answer_that_comes_in_pieces_is_judged_whole() -> None:
    """A gateway's description would be none otherwise, and its operator told to take the path out of hub.url."""

    async def in_pieces(request: web.Request) -> web.StreamResponse:
        text = json.dumps({"data": [{"id": f"model-{n}", "description": "x" * 300} for n in range(400)]} | (points("/ai-kit").document))
        response = web.StreamResponse()
        await response.prepare(request)
        for start in range(0, len(text), 50_000):
            await response.write(text[start : start + 50_000].encode())
        await response.write_eof()
        return response

    app = web.Application()
    app.router.add_get("/{path:.*}", in_pieces)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        for profile, finding in (("aigne", "a gateway with the hub at /ai-kit"), ("openai", "400 models")):
            environment = {"SIDECAR_HUB__URL": f"http://127.0.0.1:{port}/ai-kit", "SIDECAR_HUB__PROFILE": profile}
            assert finding in [check.finding async for check in hub.checks(load(None, environment))]
    finally:
        await runner.cleanup()


async def test_a_hub_that_is_not_there(tmp_path: Path) -> None:
    for url in (f"http://127.0.0.1:{free_port()}/", f"unix://{tmp_path}/hub.sock"):
        checks = [check async for check in hub.checks(load(None, {"SIDECAR_HUB__URL": url}))]
        assert [(check.name, check.verdict) for check in checks] == [("hub", "fail")]
        assert "start the hub" in checks[0].advice
