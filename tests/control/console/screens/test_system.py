"""System: what is up, and the configuration without its secrets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.control.console.conftest import Console


async def test_the_configuration_is_shown_without_secrets(console: Console) -> None:
    page = await (await console.signed_in("viewer")).get("/system")
    assert "access_key: &#39;********&#39;" in page.text and "the-hubs-own-key" not in page.text
    assert "No worker has reported" in page.text and 'class="badge up"' in page.text


async def test_sizes_have_units(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"store": {"up": True}, "hub": {"url": "http://hub/"}, "workers": [], "spool": {"backlog_bytes": 616948}, "versions": {}}

    async def snapshot() -> dict[str, Any]:
        return state

    monkeypatch.setattr(console.services.status, "snapshot", snapshot)
    page = await (await console.signed_in("viewer")).get("/system")
    assert "<dt>Not counted yet</dt><dd>602 KiB</dd>" in page.text and "<dt>URL</dt>" in page.text
