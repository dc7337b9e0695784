"""With JavaScript off: reading, creating, revealing, rotating and revoking all work."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.console.conftest import Console
from tests.console.screens import every_screen
from tests.support.browser import page_of
from tests.support.sidecar import wait_until


def test_a_key_lives_and_dies_without_scripts(console: Console) -> None:
    with page_of(console.browser, console.base, console.token, java_script_enabled=False) as page:
        page.get_by_role("link", name="Generate New Key").click()
        page.get_by_label("Name (required)").fill("No scripts")
        page.get_by_role("button", name="Generate key").click()
        expect(page.get_by_role("heading", name="Your new API key")).to_be_visible()
        secret = page.get_by_label("API key", exact=True).input_value()
        assert re.fullmatch(r"ahk_[0-9A-Za-z]{49}", secret)
        expect(page.get_by_role("button", name="Copy", exact=True)).to_be_hidden()
        assert console.sidecar.ask(secret).status == 200
        page.get_by_label("I have stored this key in a safe place").check()
        page.get_by_role("button", name="Done").click()
        page.get_by_role("link", name="Rotate").click()
        page.get_by_role("button", name="Rotate key").click()
        fresh = page.get_by_label("API key", exact=True).input_value()
        page.get_by_label("I have stored this key in a safe place").check()
        page.get_by_role("button", name="Done").click()
        page.get_by_role("link", name="Revoke", exact=True).click()
        if page.get_by_label("Type the name").count():
            page.get_by_label("Type the name").fill("No scripts")
        page.get_by_role("button", name="Revoke key").click()
        expect(page.get_by_text("Key revoked.")).to_be_visible()
        wait_until(lambda: console.sidecar.ask(fresh).code == "api_key_revoked", within=2)


def test_every_screen_can_be_read(console: Console) -> None:
    with page_of(console.browser, console.base, console.token, java_script_enabled=False) as page:
        for name in every_screen(page, console.keys):
            assert page.get_by_role("heading", level=1).count() == 1, name
        page.goto("/analytics?range=1h")
        expect(page.locator("#requests").get_by_role("img")).to_be_visible()
        page.locator("#requests").get_by_text("Data table").click()
        expect(page.get_by_role("region", name="Data of Requests")).to_be_visible()


def test_several_keys_are_revoked_without_scripts(console: Console) -> None:
    made = [console.sidecar.create_key(name=f"bulk {number}")[0] for number in range(2)]
    with page_of(console.browser, console.base, console.token, java_script_enabled=False) as page:
        page.goto("/settings/api-keys?q=bulk")
        for number in range(2):
            page.get_by_label(f"Select bulk {number}").check()
        page.get_by_role("button", name="Revoke selected…").click()
        page.get_by_role("button", name="Revoke 2 keys").click()
        expect(page.get_by_text("The selected keys are revoked.")).to_be_visible()
    for key_id in made:
        assert console.sidecar.admin("GET", f"/keys/{key_id}").json["key"]["status"] == "revoked"
