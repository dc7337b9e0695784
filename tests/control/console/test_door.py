"""What keeps strangers, other sites and lesser roles out of every page."""

from __future__ import annotations

import io

import pytest

from sidecar.control.audit import Filter
from sidecar.control.console.app import _screens
from sidecar.control.console.visit import Screen
from sidecar.control.usage.overview import Overview
from tests.control.console.conftest import Console

IDS = {"key_id": "key_" + "A" * 16, "secret_id": "sec_" + "A" * 16, "token_id": "sat_" + "A" * 16, "anomaly_id": "ano_1"}
HOME = "/settings/api-keys"


def all_screens(console: Console) -> list[Screen]:
    return _screens(console.services, Overview(console.store, console.services.usage))  # type: ignore[arg-type]


def path(screen: Screen) -> str:
    return screen.path.format(**IDS)


async def test_nobody_sees_a_page_without_signing_in(console: Console) -> None:
    for screen in all_screens(console):
        page = await console.browser().send(screen.method, path(screen))
        assert page.status == 303 and page.location.startswith("/sign-in"), screen.path
        assert not page.text


async def test_a_sign_in_leads_back_and_nowhere_else(console: Console) -> None:
    page = await console.browser().get("/analytics?range=7d")
    assert page.location == "/sign-in?next=%2Fanalytics%3Frange%3D7d"
    browser = console.browser()
    assert (await browser.post("/sign-in", {"token": console.token, "next": "/analytics?range=7d"})).location == "/analytics?range=7d"
    for evil in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\r\nSet-Cookie: x=1", ""):
        browser = console.browser()
        assert (await browser.post("/sign-in", {"token": console.token, "next": evil})).location == HOME, evil


async def test_every_form_needs_the_token_of_its_session(console: Console) -> None:
    other = await console.signed_in()
    for screen in all_screens(console):
        if screen.method == "POST":
            browser = await console.signed_in()
            for token in ("", "wrong", other.csrf):
                page = await browser.post(path(screen), {"csrf": token})
                assert page.status == 403, screen.path
                assert "nothing was done" in page.text
    assert await console.services.keys.count() == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Sec_Fetch_Site": "same-origin", "Origin": ""},
    ],
)
async def test_a_form_of_another_site_does_nothing(console: Console, headers: dict[str, str]) -> None:
    browser = await console.signed_in()
    page = await browser.post(f"{HOME}/new", {"name": "forged", "intent": "x"}, **headers)
    assert (page.status == 200) == (headers["Sec_Fetch_Site"] == "same-origin")
    assert await console.services.keys.count() == (headers["Sec_Fetch_Site"] == "same-origin")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
async def test_an_old_browser_is_judged_by_origin(console: Console, origin: str) -> None:
    browser = await console.signed_in()
    fields = {"csrf": browser.csrf, "name": "forged", "intent": "x"}
    assert (await browser.send("POST", f"{HOME}/new", fields, Origin=origin)).status == 403
    assert (await browser.send("POST", f"{HOME}/new", fields, Origin=console.base)).status == 200


async def test_nobody_is_signed_in_by_another_site(console: Console) -> None:
    page = await console.browser().post("/sign-in", {"token": console.token}, Sec_Fetch_Site="cross-site")
    assert page.status == 403 and not page.cookies


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8081", "localhost.evil.example", ""])
async def test_a_rebound_name_is_refused(console: Console, host: str) -> None:
    browser = await console.signed_in()
    for place in (HOME, "/sign-in", "/nowhere"):
        page = await browser.get(place, Host=host)
        assert page.status == 421 and "allowed_hosts" in page.text
    assert (await browser.get(HOME, Host="console.example")).status == 200


async def test_every_page_refuses_frames_caches_and_foreign_code(console: Console) -> None:
    browser = await console.signed_in()
    pages = [await browser.get(path(screen)) for screen in all_screens(console) if screen.method == "GET"]
    pages += [await console.browser().get("/sign-in"), await browser.get("/nowhere"), await browser.post(f"{HOME}/new", {"name": "x"})]
    for page in pages:
        if page.status == 303 or page.headers["Content-Type"].startswith("text/csv"):
            continue
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy or "frame-ancestors 'none'" in policy
        assert "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        is_page = page.headers["Content-Type"].startswith("text/html")
        assert page.headers["Referrer-Policy"] == ("same-origin" if is_page else "no-referrer")
        assert "Access-Control-Allow-Origin" not in page.headers
        assert not any(part in page.text for part in (" style=", "<style", "onclick", "javascript:"))


@pytest.mark.parametrize("role", ["viewer", "operator"])
async def test_a_lesser_role_can_open_and_do_nothing_beyond_it(console: Console, role: str) -> None:
    key_id, _ = await console.create()
    before = await console.services.keys.get(key_id)
    browser = await console.signed_in(role)
    for screen in all_screens(console):
        if screen.role in ("viewer", *(("operator",) if role == "operator" else ())):
            continue
        page = await browser.send(screen.method, path(screen).replace(IDS["key_id"], key_id), {"csrf": browser.csrf, "name": "x"})
        assert page.status == 403 and "This needs the role" in page.text, screen.path
    assert await console.services.keys.get(key_id) == before


async def test_a_viewer_sees_no_button_that_does_not_work(console: Console) -> None:
    key_id, _ = await console.create()
    browser = await console.signed_in("viewer")
    for place in (HOME, f"{HOME}/{key_id}", "/alerts"):
        page = await browser.get(place)
        assert page.status == 200
        # The only form that a viewer can send is the one that signs out.
        assert page.text.count('method="post"') - page.text.count('action="/settings/api-keys/revoke"') == 1
        for word in ("Generate New Key", "Rotate", "Revoke", "Disable", "Acknowledge"):
            assert f">{word}<" not in page.text, (place, word)


async def test_what_a_viewer_tried_is_in_the_audit_log(console: Console) -> None:
    browser = await console.signed_in("viewer")
    await browser.post(f"{HOME}/new", {"name": "x"})
    events = [sealed.event for sealed in (await console.services.audit.query(Filter(), 5)).events]
    assert events[0].action == "admin.forbidden" and events[0].outcome == "denied" and events[0].actor.type == "session"


async def test_a_link_from_another_site_arrives_with_the_session(console: Console) -> None:
    """The cookie is held back on the first step; the page that answers takes the second one by itself."""
    page = await console.browser().get("/alerts?key=key_1", Sec_Fetch_Site="cross-site")
    assert page.status == 200 and 'content="0; url=/alerts?key=key_1"' in page.text
    page = await console.browser().get('/alerts?"><script>', Sec_Fetch_Site="cross-site")
    assert "<script" not in page.text


async def test_what_is_missing_is_a_page(console: Console) -> None:
    browser = await console.signed_in()
    page = await browser.get("/nowhere/<script>alert(1)</script>")
    assert page.status == 404 and "There is no page at" in page.text and "<script>alert" not in page.text
    assert (await browser.get(f"{HOME}/key_AAAAAAAAAAAAAAAA")).status == 404
    assert (await browser.get("/admin/v1/nowhere")).headers["Content-Type"].startswith("application/json")


async def test_a_form_that_is_too_large_is_refused(console: Console) -> None:
    browser = await console.signed_in()
    body = io.BytesIO(b"name=" + b"x" * (2 << 20))
    page = await browser.send("POST", f"{HOME}/new", body, Content_Type="application/x-www-form-urlencoded")
    assert page.status == 413 and "too large" in page.text


async def test_without_its_store_the_console_says_so(console: Console, valkey: object) -> None:
    browser = await console.signed_in()
    valkey.kill()  # type: ignore[attr-defined]
    page = await browser.get(HOME)
    assert page.status == 503 and "cannot be reached" in page.text and "send the form again" not in page.text
    page = await browser.post(f"{HOME}/new", {"name": "typed"})
    assert page.status == 503 and "reload this page to send the form again" in page.text
