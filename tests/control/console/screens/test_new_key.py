"""Generate New Key: what the form takes, what it refuses and where it says so, and a secret that is shown exactly once."""

from __future__ import annotations

import re

import pytest

from sidecar.keys.listing import Query
from tests.control.console.conftest import Console

NEW = "/settings/api-keys/new"
FULL = {
    "name": "Invoice assistant",
    "owner": "billing",
    "expires": "30",
    "allowed_routes": "chat\r\nPOST /api/v2/image",
    "allowed_models": "openai/*",
    "allowed_ips": "203.0.113.7\r\n198.51.100.9/24",
    "rpm": "60",
    "tpm": "",
    "max_concurrency": "4",
    "quota_tokens": "1000000",
    "quota_period": "week",
    "quota_timezone": "Europe/Berlin",
    "enforcement": "shadow",
    "on_anomaly": "throttle",
    "tags": "prod, billing",
}


async def test_every_field_reaches_the_key(console: Console) -> None:
    key_id, secret = await console.create(**FULL)
    key = await console.services.keys.get(key_id)
    assert key is not None and key.secrets[0].hint.endswith(secret[-4:])
    assert (key.name, key.owner, key.enforcement, key.on_anomaly, key.tags) == (
        FULL["name"],
        "billing",
        "shadow",
        "throttle",
        ("prod", "billing"),
    )
    assert (key.allowed_routes, key.allowed_models) == (("chat", "POST /api/v2/image"), ("openai/*",))
    assert key.allowed_ips == ("203.0.113.7", "198.51.100.0/24")
    assert (key.limits.rpm, key.limits.tpm, key.limits.max_concurrency) == (60, None, 4)
    assert key.quota is not None and (key.quota.tokens, key.quota.period, key.quota.timezone) == (1_000_000, "week", "Europe/Berlin")
    assert key.expires_at is not None and abs(key.expires_at - key.created_at - 30 * 86400) < 5


async def test_the_secret_is_shown_once_and_is_nowhere_else(console: Console) -> None:
    browser = await console.signed_in("operator")
    fields = {"name": "once", "intent": "the-same-form"}
    page = await browser.post(NEW, fields)
    secret = re.search(r"ahk_[0-9A-Za-z]{49}", page.text)
    assert secret and "shown only this once" in page.text and "I have stored this key" in page.text
    assert page.headers["Cache-Control"] == "no-store" and "Location" not in page.headers
    assert "curl http://127.0.0.1:8080/api/v2/chat" in page.text and "AIGNEHubChatModel" in page.text
    again = await browser.post(NEW, fields)
    assert again.status == 200 and secret[0] not in again.text and "cannot be shown again" in again.text
    assert "was shown" not in again.text and "If its secret did not reach you" in again.text
    assert await console.services.keys.count() == 1
    ((key_id, _),) = [(key.id, key) for key in (await console.services.keys.list(_all())).keys]
    for place in ("/settings/api-keys", f"/settings/api-keys/{key_id}", "/audit-log", "/settings/api-keys/export.csv"):
        assert secret[0] not in (await browser.get(place)).text


def _all() -> Query:
    return Query()


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("name", "", "must not be empty"),
        ("name", " ", "must not be empty"),
        ("name", "a\u202eb", "printable"),
        ("owner", "x" * 129, "128"),
        ("rpm", "many", "whole number"),
        ("rpm", "0", "whole number"),
        ("tpm", "-3", "whole number"),
        ("quota_requests", "1.5", "whole number"),
        ("quota_timezone", "Berlin", "zone"),
        ("allowed_ips", "10.0.0.1\n300.1.1.1", "Entry 2"),
        ("allowed_routes", "nothing at all?", "Entry 1"),
        ("expires_at", "tomorrow", "date"),
    ],
)
async def test_a_fault_is_told_at_its_field_and_nothing_is_lost(console: Console, field: str, value: str, sentence: str) -> None:
    browser = await console.signed_in("operator")
    fields = {**FULL, "intent": "x", "quota_requests": "", field: value}
    if field == "expires_at":
        fields["expires"] = "at"
    page = await browser.post(NEW, fields)
    assert page.status == 400 and await console.services.keys.count() == 0
    assert 'role="alert"' in page.text and f'href="#{field}"' in page.text
    control = re.search(rf'<(?:input|textarea) id="{field}"[^>]*>', page.text)
    assert control and 'aria-invalid="true"' in control[0] and f'aria-describedby="{field}-note"' in control[0]
    note = re.search(rf'id="{field}-note" class="note"><strong>([^<]*)', page.text)
    assert note and sentence.lower() in note[1].lower(), note
    assert 'value="billing"' in page.text or field == "owner"


async def test_the_same_form_sent_twice_makes_one_key_that_ends(console: Console) -> None:
    browser = await console.signed_in("operator")
    fields = {"name": "once", "expires": "30", "intent": "the-same-form"}
    assert (await browser.post(NEW, fields)).status == 200
    console.clock.offset += 5
    again = await browser.post(NEW, fields)
    assert again.status == 200 and "cannot be shown again" in again.text
    assert await console.services.keys.count() == 1


async def test_a_form_that_one_went_back_to_keeps_its_new_entries(console: Console) -> None:
    browser = await console.signed_in("operator")
    fields = {"name": "once", "intent": "the-same-form"}
    assert (await browser.post(NEW, fields)).status == 200
    page = await browser.post(NEW, {**fields, "name": "another", "owner": "billing"})
    assert page.status == 409 and "sent before" in page.text and "Idempotency" not in page.text
    assert 'value="another"' in page.text and 'value="billing"' in page.text
    assert await console.services.keys.count() == 1
    intent = re.search(r'name="intent" value="([^"]+)"', page.text)
    assert intent and intent[1] != "the-same-form"
    assert (await browser.post(NEW, {**fields, "name": "another", "intent": intent[1]})).status == 200
    assert await console.services.keys.count() == 2


@pytest.mark.parametrize("expires", ["\u00b2", "9" * 5000, "soon", "-1"])
async def test_an_end_that_is_none_does_not_mean_for_ever(console: Console, expires: str) -> None:
    page = await (await console.signed_in("operator")).post(NEW, {"name": "a", "expires": expires, "intent": "x"})
    assert page.status == 400 and 'href="#expires_at"' in page.text
    assert await console.services.keys.count() == 0


@pytest.mark.parametrize("expires", ["", "30"])
async def test_a_date_without_effect_does_not_mean_for_ever(console: Console, expires: str) -> None:
    """Whoever fills in a date and leaves the choice above it as it stands would get a key that never ends."""
    browser = await console.signed_in("operator")
    page = await browser.post(NEW, {"name": "a", "expires": expires, "expires_at": "2999-01-01T00:00", "intent": "x"})
    assert page.status == 400 and 'href="#expires_at"' in page.text and 'value="2999-01-01T00:00"' in page.text
    assert "Choose “until a date I choose”" in page.text and ">until a date I choose</option>" in page.text
    assert await console.services.keys.count() == 0


async def test_a_new_key_does_not_end_before_it_begins(console: Console) -> None:
    browser = await console.signed_in("operator")
    fields = {"name": "a", "expires": "at", "intent": "x"}
    page = await browser.post(NEW, {**fields, "expires_at": "2001-01-01T00:00"})
    assert page.status == 400 and "Must lie ahead" in page.text and 'value="2001-01-01T00:00"' in page.text
    assert await console.services.keys.count() == 0
    assert (await browser.post(NEW, {**fields, "expires_at": "2999-01-01T00:00"})).status == 200
