"""A real Chromium, driven by Playwright; the distribution's own is used, nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.tools import require

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; the test is skipped where there is none."""
    path = require("chromium", "chromium-browser", "google-chrome", install="apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def page_of(browser: Browser, base: str, token: str = "", **options: Any) -> Iterator[Page]:
    """A page of its own, signed in when there is a token; an error in a script or a broken rule of the page's policy is an error here."""
    context = browser.new_context(base_url=base, **options)
    context.set_default_timeout(10_000)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if "Content Security Policy" in message.text else None)
    try:
        if token:
            sign_in(page, token)
        yield page
    finally:
        context.close()
    assert not problems, problems


def sign_in(page: Page, token: str) -> None:
    """Through the form."""
    page.goto("/sign-in")
    page.get_by_label("Admin token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/settings/api-keys")
