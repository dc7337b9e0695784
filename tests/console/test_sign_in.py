"""What a browser says at the sign-in, from which the session's cookie is made."""

from __future__ import annotations

from tests.console.conftest import Console
from tests.support.browser import page_of, sign_in


def test_the_form_says_where_it_was(console: Console) -> None:
    """Behind a proxy that ends TLS nothing else tells that the cookie may be `Secure`."""
    with page_of(console.browser, console.base) as page:
        with page.expect_request(lambda request: request.method == "POST") as sent:
            sign_in(page, console.token)
        assert sent.value.all_headers()["origin"] == console.base.rstrip("/")
