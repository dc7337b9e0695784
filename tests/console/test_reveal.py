"""A new secret is on the screen once: whoever leaves its page takes it off, also where there is nothing to download."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.console.conftest import Console
from tests.console.screens import leave_reveal, reveal, reveal_admin_token
from tests.support.browser import page_of

TOKEN = re.compile(r"^ahk_[0-9A-Za-z]{49}$")


@pytest.mark.parametrize("show", [reveal, reveal_admin_token])
def test_a_secret_leaves_the_screen_with_its_reader(console: Console, show: object) -> None:
    with page_of(console.browser, console.base, console.token) as page:
        assert callable(show)
        show(page)
        expect(page.locator("#secret")).to_be_visible()
        page.evaluate("dispatchEvent(new Event('pagehide'))")
        expect(page.locator("#secret")).to_have_count(0)


def test_a_second_click_does_not_take_the_secret_away(console: Console) -> None:
    with page_of(console.browser, console.base, console.token) as page:
        page.goto("/settings/api-keys/new")
        page.get_by_label("Name (required)").fill("Clicked twice")
        click_twice(page, "Generate key")
        expect(page.locator("#secret")).to_have_value(TOKEN)
        leave_reveal(page)
        page.get_by_role("link", name="Rotate").click()
        click_twice(page, "Rotate key")
        expect(page.locator("#secret")).to_have_value(TOKEN)


def test_a_form_that_one_comes_back_to_can_be_sent_again(console: Console) -> None:
    with page_of(console.browser, console.base, console.token) as page:
        page.goto("/settings/api-keys/new")
        page.get_by_label("Name (required)").fill("Sent again")
        page.evaluate("document.querySelector('form.sheet').dataset.sent = 'yes'")
        page.evaluate("dispatchEvent(new Event('pageshow'))")
        page.get_by_role("button", name="Generate key").click()
        expect(page.locator("#secret")).to_have_value(TOKEN)


def click_twice(page: Page, name: str) -> None:
    """The second time while the answer to the first is under way."""
    held: list[Route] = []
    page.route("**/*", lambda route: held.append(route) if route.request.method == "POST" else route.continue_())
    button = page.get_by_role("button", name=name)
    button.scroll_into_view_if_needed()
    place = button.bounding_box()
    assert place is not None
    with page.expect_request(lambda request: request.method == "POST"):
        page.mouse.click(place["x"] + 5, place["y"] + 5)
    page.mouse.click(place["x"] + 5, place["y"] + 5)
    page.wait_for_timeout(300)
    assert len(held) == 1
    held[0].continue_()
    page.unroute_all(behavior="wait")
