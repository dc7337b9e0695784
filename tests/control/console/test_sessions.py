"""Sessions: who gets one, what its cookie looks like, and everything that ends it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request

from sidecar.control.audit import Filter
from sidecar.control.console.sessions import Sessions
from sidecar.keys.digest import load
from sidecar.settings.declaration import Admin, Tls
from sidecar.settings.values import Duration, Listen
from sidecar.store import names
from sidecar.store.client import Store
from tests.control.console.conftest import Console, make_console
from tests.support.keys import OLDER_PEPPER

HOME = "/settings/api-keys"


def only_cookie(cookies: dict[str, str]) -> tuple[str, str]:
    ((name, value),) = cookies.items()
    return name, value


async def test_a_session_opens_with_an_admin_token_only(console: Console) -> None:
    _, secret = await console.create()
    for wrong in ("", "sat_wrong", secret, "x" * 300, "\u00e9"):
        browser = console.browser()
        page = await browser.post("/sign-in", {"token": wrong})
        assert page.status == 401 and not page.cookies, wrong
    assert "API keys are not accepted here" in (await console.browser().post("/sign-in", {"token": secret})).text


async def test_guessing_is_slowed_down(console: Console) -> None:
    browser = console.browser()
    answers = [await browser.post("/sign-in", {"token": f"sat_{number}"}) for number in range(30)]
    assert answers[-1].status == 429 and int(answers[-1].headers["Retry-After"]) >= 1
    assert (await console.browser().post("/sign-in", {"token": "sat_x"})).status == 429
    never_seen = (await console.services.admin_tokens.create("Olga", "viewer")).token
    assert (await console.browser().post("/sign-in", {"token": never_seen})).status == 303, "whoever has a token is not kept out"


async def test_the_cookie_is_closed_to_scripts_and_other_sites(console: Console) -> None:
    browser = console.browser()
    page = await browser.post("/sign-in", {"token": console.token})
    name, cookie = only_cookie(page.cookies)
    assert name.startswith("sidecar-session-")
    for part in ("HttpOnly", "SameSite=Strict", "Path=/"):
        assert part in cookie
    assert "Domain" not in cookie and "Secure" not in cookie and len(browser.cookies[name]) >= 43  # 256 bits


async def test_behind_a_proxy_that_ends_tls_the_cookie_stays_within_tls(console: Console) -> None:
    page = await console.browser().post("/sign-in", {"token": console.token}, Origin="https://console.example", Host="console.example")
    _, cookie = only_cookie(page.cookies)
    assert "Secure" in cookie


async def test_with_tls_the_cookie_is_bound_to_the_host(store: Store, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        console = await make_console(stack, store, tmp_path / "tls", tls=Tls(certificate_file="c", key_file="k"))
        page = await console.browser().post("/sign-in", {"token": console.token})
        name, cookie = only_cookie(page.cookies)
        assert name == f"__Host-sidecar-session-{console.services.settings.admin.listen.port}" and "Secure" in cookie and "Path=/" in cookie


@pytest.mark.parametrize("tls", [None, Tls(certificate_file="c", key_file="k")], ids=["plain", "TLS"])
async def test_two_sidecars_on_one_host_leave_each_other_s_cookies_alone(console: Console, tls: Tls | None) -> None:
    """Browsers send a cookie to every port of a host, and keep one of each name."""
    pepper = load(Path(console.services.settings.keys.pepper_file))

    def name(port: int) -> str:
        admin = Admin(listen=Listen.parse(f"127.0.0.1:{port}"), tls=tls)
        return Sessions(console.store, pepper, console.services.admin_tokens, admin, console.clock).cookie_name

    assert name(8081) != name(9081)


async def test_the_store_holds_no_session_id(console: Console) -> None:
    browser = await console.signed_in()
    ((_, session_id),) = browser.cookies.items()
    found = await console.store.call("KEYS", names.SESSIONS_PREFIX + "*")
    values = [await console.store.call("GET", name) for name in found]
    assert len(found) == 1
    assert not any(session_id.encode() in text for text in (*found, *values))


async def _session(console: Console, cookies: dict[str, str]) -> tuple[bytes, bytes]:
    """The one session in the store, by name and value; `cookies` must open it."""
    browser = console.browser()
    browser.cookies = cookies
    assert (await browser.get(HOME)).status == 200
    (name,) = await console.store.call("KEYS", names.SESSIONS_PREFIX + "*")
    return name, await console.store.call("GET", name)


async def test_who_can_write_to_the_store_plants_no_session(console: Console) -> None:
    (admin,) = await console.services.admin_tokens.list()
    record = json.dumps({"token_id": admin.id, "csrf": "c", "created_at": console.clock()}).encode()
    name, _ = only_cookie((await console.signed_in("viewer")).cookies)
    chosen = "chosen-by-an-attacker"
    await console.store.call("SET", names.SESSIONS_PREFIX + hashlib.sha256(chosen.encode()).hexdigest(), record)
    intruder = console.browser()
    intruder.cookies = {name: chosen}
    assert (await intruder.get(HOME)).status == 303


async def test_who_can_write_to_the_store_makes_no_session_another_s(console: Console) -> None:
    """Not the one that is his own either, nor one under a name that he has seen the sidecar ask for."""
    ours = await console.signed_in("viewer")
    name, sealed = await _session(console, ours.cookies)
    (admin,) = [one for one in await console.services.admin_tokens.list() if one.role == "admin"]
    token_id = json.loads(sealed[sealed.index(b"{") :])["token_id"].encode()
    record = json.dumps({"token_id": admin.id, "csrf": "c", "created_at": console.clock()}).encode()
    for written in (sealed.replace(token_id, admin.id.encode()), record, b"0" * 64 + record, b"", sealed[:64], sealed[:10]):
        await console.store.call("SET", name, written)
        assert (await ours.get(HOME)).status == 303, written
    other = await console.signed_in()
    (another,) = {*await console.store.call("KEYS", names.SESSIONS_PREFIX + "*")} - {name}
    await console.store.call("SET", name, await console.store.call("GET", another))
    assert (await ours.get(HOME)).status == 303 and (await other.get(HOME)).status == 200


async def test_a_session_ends_with_a_change_of_the_pepper(store: Store, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        console = await make_console(stack, store, tmp_path / "data")
        browser = await console.signed_in()
        ((name, value),) = browser.cookies.items()
        request = make_mocked_request("GET", HOME, headers={"Cookie": f"{name}={value}"})
        tokens, admin = console.services.admin_tokens, console.services.settings.admin
        for pepper, is_known in ((load(tmp_path / "data" / "pepper"), True), (OLDER_PEPPER, False)):
            assert (await Sessions(store, pepper, tokens, admin, console.clock).find(request) is not None) is is_known


async def test_fixation_is_impossible(console: Console) -> None:
    """An id that the browser came with never becomes a session; one that was a session ends at the next sign-in."""
    victim = console.browser()
    first = await console.signed_in()
    ((name, planted),) = first.cookies.items()
    for given in ("chosen-by-an-attacker", planted):
        victim.cookies = {name: given}
        await victim.post("/sign-in", {"token": console.token})
        assert victim.cookies[name] != given
        intruder = console.browser()
        intruder.cookies = {name: given}
        assert (await intruder.get(HOME)).status == 303


async def test_signing_out_ends_the_session_in_the_store(console: Console) -> None:
    browser = await console.signed_in()
    kept = dict(browser.cookies)
    page = await browser.post("/sign-out")
    assert page.status == 303 and not browser.cookies
    browser.cookies = kept
    assert (await browser.get(HOME)).location.startswith("/sign-in")


async def test_a_session_ends_with_its_admin_token(console: Console) -> None:
    issued = await console.services.admin_tokens.create("left the team", "operator")
    browser = console.browser()
    await browser.sign_in(issued.token)
    assert (await browser.get(HOME)).status == 200
    await console.services.admin_tokens.revoke(issued.record.id)
    assert (await browser.get(HOME)).status == 303


async def test_a_session_ends_with_its_age(console: Console) -> None:
    browser = await console.signed_in()
    console.clock.offset = console.services.settings.admin.session_age - 60
    assert (await browser.get(HOME)).status == 200
    console.clock.offset += 61
    assert (await browser.get(HOME)).status == 303


async def test_only_people_keep_a_session_alive(store: Store, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        console = await make_console(stack, store, tmp_path / "idle", session_idle=Duration(600))
        browser = await console.signed_in()
        (name,) = await store.call("KEYS", names.SESSIONS_PREFIX + "*")
        assert 590 < await store.call("TTL", name) <= 600
        await store.call("EXPIRE", name, 100)
        assert (await browser.get(HOME, X_Sidecar_Live="1")).status == 200
        assert await store.call("TTL", name) <= 100, "a page that refreshes itself does not count"
        await browser.get(HOME)
        assert await store.call("TTL", name) > 590
        await store.call("DEL", name)
        assert (await browser.get(HOME, X_Sidecar_Live="1")).status == 401


async def test_the_cookie_opens_the_api_for_reading_and_with_its_token_for_changes(console: Console) -> None:
    browser = await console.signed_in()
    assert (await browser.get("/admin/v1/whoami")).status == 200
    body = b'{"name": "by script"}'
    plain = {"Content_Type": "application/json", "Sec_Fetch_Site": "same-origin"}
    assert (await browser.send("POST", "/admin/v1/keys", body, **plain)).status == 403
    assert (await browser.send("POST", "/admin/v1/keys", body, **plain, X_CSRF_Token=browser.csrf)).status == 201
    foreign = {**plain, "Sec_Fetch_Site": "same-site"}
    assert (await browser.send("POST", "/admin/v1/keys", body, **foreign, X_CSRF_Token=browser.csrf)).status == 403


async def test_signing_in_and_out_is_in_the_audit_log(console: Console) -> None:
    browser = await console.signed_in()
    await browser.post("/sign-out")
    events = (await console.services.audit.query(Filter(), 10)).events
    assert [event.event.action for event in events] == ["session.ended", "session.started"]
    assert all(console.token not in str(event) for event in events)


async def test_a_session_that_another_takes_the_place_of_is_recorded_as_ended(console: Console) -> None:
    browser = await console.signed_in()
    other = await console.services.admin_tokens.create("Olga", "viewer")
    await browser.sign_in(other.token)
    events = [sealed.event for sealed in (await console.services.audit.query(Filter(), 10)).events]
    assert [(event.action, event.actor.name) for event in events] == [
        ("session.started", "Olga"),
        ("session.ended", "first"),
        ("session.started", "first"),
    ]


async def test_a_token_of_a_form_that_is_no_text_is_a_wrong_one(console: Console) -> None:
    browser = await console.signed_in()
    host, port = console.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items()).encode()
    writer.write(
        b"POST /admin/v1/keys HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nCookie: %s\r\nX-CSRF-Token: \xff\r\n"
        b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}" % cookie
    )
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 403 ")
