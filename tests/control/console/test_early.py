"""A page that begins before the rest of it is known."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from sidecar.control.usage_overview import Overview
from sidecar.store.errors import StoreUnavailable
from tests.control.console.conftest import Console

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


async def test_who_leaves_meanwhile_is_no_fault(console: Console, release: Callable[[], None], caplog: pytest.LogCaptureFixture) -> None:
    browser = await console.signed_in()
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}
    response = await console.http.get(console.base + PATH, headers=headers)
    response.close()
    await asyncio.sleep(0)
    with caplog.at_level(logging.WARNING):
        release()
        assert (await browser.get(PATH)).status == 200
    assert not caplog.records
