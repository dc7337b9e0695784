"""A new secret is on the screen once: whoever leaves its page takes it off, also where there is nothing to download."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.console.conftest import Console
from tests.console.screens import reveal, reveal_admin_token
from tests.support.browser import page_of


@pytest.mark.parametrize("show", [reveal, reveal_admin_token])
def test_a_secret_leaves_the_screen_with_its_reader(console: Console, show: object) -> None:
    with page_of(console.browser, console.base, console.token) as page:
        assert callable(show)
        show(page)
        expect(page.locator("#secret")).to_be_visible()
        page.evaluate("dispatchEvent(new Event('pagehide'))")
        expect(page.locator("#secret")).to_have_count(0)
