"""Preferences: kept in a cookie, seen by every page, also by the one for signing in."""

from __future__ import annotations

from tests.control.console.conftest import Console


async def test_choices_are_kept(console: Console) -> None:
    browser = await console.signed_in("viewer")
    page = await browser.get("/settings/preferences")
    assert 'data-theme="auto" data-shortcuts="on"' in page.text
    page = await browser.post("/settings/preferences", {"theme": "dark"})
    assert "HttpOnly" in page.cookies["sidecar-preferences"]
    assert 'data-theme="dark" data-shortcuts="off"' in (await browser.get("/analytics")).text
    await browser.post("/sign-out")
    assert 'data-theme="dark"' in (await browser.get("/sign-in")).text
    browser.cookies["sidecar-preferences"] = '"><script>.maybe'
    assert 'data-theme="auto" data-shortcuts="on"' in (await browser.get("/sign-in")).text
