"""The page for signing in: made for password managers, honest about refusals."""

from __future__ import annotations

import re

from tests.control.console.conftest import Console


async def test_the_form_suits_password_managers(console: Console) -> None:
    page = await console.browser().get("/sign-in")
    assert 'autocomplete="username"' in page.text
    control = re.search(r'<input id="token"[^>]*>', page.text)
    assert control and 'type="password"' in control[0] and 'autocomplete="current-password"' in control[0]


async def test_a_refusal_is_read_out_and_keeps_the_way(console: Console) -> None:
    page = await console.browser().post("/sign-in", {"token": "wrong", "next": "/analytics"})
    assert 'role="alert"' in page.text and 'value="/analytics"' in page.text and 'value="wrong"' not in page.text


async def test_whoever_is_in_is_sent_on(console: Console) -> None:
    browser = await console.signed_in()
    assert (await browser.get("/sign-in?next=/system")).location == "/system"
    assert (await browser.get("/")).location == "/settings/api-keys"
    assert (await browser.get("/settings")).location == "/settings/api-keys"
