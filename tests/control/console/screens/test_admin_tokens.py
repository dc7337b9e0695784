"""Admin tokens: made, shown once, revoked, for admins only."""

from __future__ import annotations

import re

import pytest

from sidecar.store.errors import StoreUnavailable
from tests.control.console.conftest import Console

PATH = "/settings/admin-tokens"
TOKEN = re.compile(r"sat_[0-9A-Za-z]{49}")


async def test_a_token_is_shown_once_and_works_until_it_is_revoked(console: Console) -> None:
    browser = await console.signed_in()
    page = await browser.post(PATH, {"name": "the pipeline", "role": "operator"})
    token = TOKEN.search(page.text)
    assert token and "shown only this once" in page.text
    listed = await browser.get(PATH)
    assert token[0] not in listed.text and "the pipeline" in listed.text
    other = console.browser()
    assert (await other.sign_in(token[0])).status == 303
    token_id = next(one.id for one in await console.services.admin_tokens.list() if one.name == "the pipeline")
    assert (await browser.post(f"{PATH}/{token_id}/revoke")).location == f"{PATH}?done=token-revoked"
    assert (await other.get(PATH)).status == 303
    assert (await console.browser().post("/sign-in", {"token": token[0]})).status == 401


async def test_the_last_admin_token_stays(console: Console) -> None:
    browser = await console.signed_in()
    (first,) = await console.services.admin_tokens.list()
    page = await browser.post(f"{PATH}/{first.id}/revoke")
    assert page.status == 409 and "last admin token" in page.text


async def test_a_nameless_token_is_refused_at_its_field(console: Console) -> None:
    page = await (await console.signed_in()).post(PATH, {"name": "", "role": "viewer"})
    assert page.status == 400 and 'aria-invalid="true"' in page.text
    assert '<strong role="alert">Must not be empty.</strong>' in page.text


async def test_a_form_that_is_sent_again_makes_no_second_token(console: Console) -> None:
    """As by a reload of the page that shows the token: nobody would know of the first one, which stays valid."""
    browser = await console.signed_in()
    sent = {"name": "the pipeline", "role": "admin", "intent": _intent((await browser.get(PATH)).text)}
    assert "shown only this once" in (await browser.post(PATH, sent)).text
    for again in (sent, {**sent, "name": "another"}):
        page = await browser.post(PATH, again)
        assert page.status == 409 and "sent before" in page.text and not TOKEN.search(page.text)
        assert f'value="{again["name"]}"' in page.text
    assert len(await console.services.admin_tokens.list()) == 2
    assert "shown only this once" in (await browser.post(PATH, {**again, "intent": _intent(page.text)})).text


async def test_a_form_that_was_refused_can_be_mended(console: Console) -> None:
    browser = await console.signed_in()
    page = await browser.post(PATH, {"name": " ", "intent": _intent((await browser.get(PATH)).text)})
    assert "shown only this once" in (await browser.post(PATH, {"name": "mended", "intent": _intent(page.text)})).text


async def test_a_form_that_met_no_store_half_way_claims_no_token_that_is_not_there(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page of the failure says to reload it, and the form's intent may be known by then."""

    async def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("the key store cannot be reached")

    browser = await console.signed_in()
    sent = {"name": "the pipeline", "role": "viewer", "intent": _intent((await browser.get(PATH)).text)}
    with monkeypatch.context() as store:
        store.setattr(console.services.admin_tokens, "create", away)
        assert (await browser.post(PATH, sent)).status == 503
    page = await browser.post(PATH, sent)
    assert page.status == 409 and "If it made one then" in page.text and "What it made" not in page.text
    assert "shown only this once" in (await browser.post(PATH, {**sent, "intent": _intent(page.text)})).text


def _intent(page: str) -> str:
    found = re.search(r'name="intent" value="([^"]+)"', page)
    return found[1] if found else ""


async def test_others_do_not_even_see_the_tab(console: Console) -> None:
    page = await (await console.signed_in("operator")).get("/settings/api-keys")
    assert "Admin Tokens" not in page.text
