"""System: what is up, and the configuration without its secrets."""

from __future__ import annotations

from tests.control.console.conftest import Console


async def test_the_configuration_is_shown_without_secrets(console: Console) -> None:
    page = await (await console.signed_in("viewer")).get("/system")
    assert "access_key: &#39;********&#39;" in page.text and "the-hubs-own-key" not in page.text
    assert "No worker has reported" in page.text and 'class="badge up"' in page.text
