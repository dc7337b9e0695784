"""A page that begins before the rest of it is known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from sidecar.control.console.early import EarlyPage
from sidecar.control.listeners.serving import serve
from sidecar.control.usage.overview import Overview
from sidecar.settings.values import Listen
from sidecar.store.errors import StoreUnavailable
from tests.control.console.conftest import Console
from tests.support.ports import free_port
from tests.worker.plane import until

PATH = "/analytics"


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Holds the numbers of the page back until it is called."""
    go_on = asyncio.Event()
    breakdown = Overview.breakdown

    async def waiting(*arguments: Any, **options: Any) -> Any:
        await go_on.wait()
        return await breakdown(*arguments, **options)

    monkeypatch.setattr(Overview, "breakdown", waiting)
    return go_on.set


async def test_style_and_scripts_are_named_before_the_numbers_are_known(console: Console, release: Callable[[], None]) -> None:
    browser = await console.signed_in()
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}
    async with console.http.get(console.base + PATH, headers=headers) as response:
        assert response.status == 200 and response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store" and "script-src 'self'" in response.headers["Content-Security-Policy"]
        begun = (await asyncio.wait_for(response.content.readuntil(b"</head>"), 10)).decode()
        assert begun.startswith("<!doctype html>") and "/static/console." in begun and "/static/chart." in begun
        release()
        rest = (await asyncio.wait_for(response.content.read(), 10)).decode()
    assert rest.startswith("\n<body") and rest.rstrip().endswith("</html>") and "<h1>Analytics</h1>" in rest
    assert "<head>" not in rest


@pytest.mark.parametrize(
    ("error", "told"), [(StoreUnavailable("away"), "Not available at the moment"), (ValueError("x"), "That did not work")]
)
async def test_what_fails_later_is_told_in_the_page(console: Console, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str) -> None:
    async def failing(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(Overview, "breakdown", failing)
    browser = await console.signed_in()
    page = await browser.get(PATH)
    assert f"<h1>{told}</h1>" in page.text and page.text.count("<body") == page.text.count("</html>") == 1


async def test_a_head_request_gets_no_page(console: Console) -> None:
    browser = await console.signed_in()
    page = await browser.send("HEAD", PATH, Sec_Fetch_Site="same-origin", Sec_Fetch_Mode="navigate")
    assert page.status == 200 and not page.text


async def test_who_leaves_meanwhile_is_no_fault() -> None:
    """As the sidecar serves: a handler is not cancelled when its client leaves."""
    begun: list[web.Request] = []
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    go_on = asyncio.Event()

    async def page(request: web.Request) -> web.StreamResponse:
        await EarlyPage.begin(request, "<head></head>")
        begun.append(request)
        await go_on.wait()
        early = EarlyPage.of(request)
        assert early is not None
        try:
            response = await early.end("<head></head><body>")
            ended.set_result(None)
        except Exception as error:
            ended.set_exception(error)
            raise
        return response

    app = web.Application()
    app.router.add_get("/", page)
    runner = await serve(app, Listen.parse(f"127.0.0.1:{free_port()}"))
    try:
        _, writer = await asyncio.open_connection(*runner.addresses[0])
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: begun)
        writer.transport.abort()
        await until(lambda: begun[0].transport is None)
        go_on.set()
        await asyncio.wait_for(ended, 10)
    finally:
        await runner.cleanup()
