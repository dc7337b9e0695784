"""The documentation's first steps, click by click: generate a key, copy it, use it, watch it, rotate it, revoke it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Error, Page, expect

from tests.console.conftest import Console
from tests.console.seed import MODELS, chat
from tests.support.browser import page_of
from tests.support.sidecar import wait_until

NAME = "My first application"


def test_settings_api_keys_generate_new_key(console: Console) -> None:
    with page_of(console.browser, console.base, console.token, permissions=["clipboard-read", "clipboard-write"]) as page:
        secret = generate(page)
        assert console.sidecar.ask(secret).status == 200
        for _ in range(4):
            console.sidecar.ask(secret, body=chat(MODELS[0]))
        appears_with_its_use(page)
        fresh = rotate(page)
        assert console.sidecar.ask(secret).status == 200, "the old secret works during the overlap"
        assert console.sidecar.ask(fresh).status == 200
        revoke(page)
        wait_until(lambda: console.sidecar.ask(fresh).code == "api_key_revoked", within=2)
        assert console.sidecar.ask(secret).code == "api_key_revoked"


def generate(page: Page) -> str:
    page.goto("/analytics")
    page.get_by_role("link", name="Settings", exact=True).click()
    page.get_by_role("navigation", name="Settings").get_by_role("link", name="API Keys", exact=True).click()
    page.get_by_role("link", name="Generate New Key").click()
    page.get_by_label("Name (required)").fill(NAME)
    page.get_by_role("button", name="Generate key").click()
    dialog = page.get_by_role("dialog", name="Your new API key")
    expect(dialog).to_contain_text("shown only this once")
    secret = copied(page)
    # Neither Escape nor leaving the box unticked closes it.
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(dialog).to_be_visible()
    page.get_by_role("button", name="Done").click()
    expect(dialog).to_be_visible()
    for example in ("curl", "Node.js"):
        expect(dialog.get_by_text(example, exact=True)).to_be_visible()
    page.get_by_label("I have stored this key in a safe place").check()
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_role("heading", name=NAME)).to_be_visible()
    with pytest.raises(Error, match="ERR_CACHE_MISS"):  # the browser has not kept the page that showed the secret
        page.go_back()
    page.wait_for_url("chrome-error://**")
    return secret


def copied(page: Page) -> str:
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.get_by_text("Copied to the clipboard.")).to_be_visible()
    secret = str(page.evaluate("navigator.clipboard.readText()"))
    assert re.fullmatch(r"ahk_[0-9A-Za-z]{49}", secret)
    assert secret == page.get_by_label("API key", exact=True).input_value()
    return secret


def appears_with_its_use(page: Page) -> None:
    def used() -> bool:
        page.goto("/settings/api-keys?q=my+first")
        return page.get_by_role("img", name="5 requests in the last 24 hours").count() == 1

    wait_until(used, within=5)
    page.get_by_role("link", name=NAME).click()
    expect(page.get_by_role("img", name=re.compile("^Requests"))).to_be_visible()
    expect(page.locator("#models")).to_contain_text(MODELS[0])


def rotate(page: Page) -> str:
    page.get_by_role("link", name="Rotate").click()
    page.get_by_label("The old secret stays valid for").select_option(label="1 hour")
    page.get_by_role("button", name="Rotate key").click()
    expect(page.get_by_role("dialog", name="The new secret")).to_contain_text("The old secret stays valid for 1 h")
    secret = copied(page)
    page.get_by_label("I have stored this key in a safe place").check()
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_text("Not yet safe to end the overlap.")).to_be_visible()
    return secret


def revoke(page: Page) -> None:
    page.get_by_role("link", name="Revoke", exact=True).click()
    expect(page.get_by_role("heading", name=f"Revoke “{NAME}”?")).to_be_visible()
    expect(page.get_by_text(re.compile(r"made .*requests in the last 24 hours"))).to_be_visible()
    expect(page.get_by_role("link", name="Cancel")).to_be_focused()
    page.get_by_label("Type the name of the key to confirm").fill("something else")
    page.get_by_role("button", name="Revoke key").click()
    expect(page.get_by_role("alert")).to_contain_text("Type the name exactly")
    page.get_by_label("Type the name of the key to confirm").fill(NAME)
    page.get_by_role("button", name="Revoke key").click()
    expect(page.get_by_text("Key revoked.")).to_be_visible()
    expect(page.get_by_role("link", name="Rotate")).to_have_count(0)
