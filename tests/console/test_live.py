"""A page that stays open brings itself up to date, keeps one's place, and can be told to stop."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.console.conftest import Console
from tests.console.screens import key_with_faults
from tests.support.browser import page_of, sign_in
from tests.support.sidecar import wait_until

SLOWLY = 15_000


def end_the_session_and_sign_in_elsewhere(page: Page, console: Console) -> None:
    page.context.clear_cookies()
    expect(page.get_by_role("status")).to_contain_text("Your session has ended", timeout=SLOWLY)
    sign_in(page.context.new_page(), console.token)
    page.bring_to_front()
    expect(page.get_by_role("status")).to_contain_text("You are signed in again", timeout=SLOWLY)


def test_numbers_follow_and_the_place_is_kept(console: Console) -> None:
    key_id, secret = console.sidecar.create_key(name="watched")
    with page_of(console.browser, console.base, console.token, viewport={"width": 1200, "height": 500}) as page:
        page.goto(f"/settings/api-keys/{key_id}?range=1h")
        page.locator("#models").scroll_into_view_if_needed()
        page.get_by_role("slider", name="Tokens").or_(page.locator("#tokens")).first.hover()
        place = page.evaluate("scrollY")
        expect(page.locator("#models")).to_contain_text("Nothing in this time.")
        for _ in range(3):
            console.sidecar.ask(secret)
        expect(page.locator("#models")).to_contain_text("openai/gpt-5-mini", timeout=SLOWLY)
        assert page.evaluate("scrollY") == place
        expect(page.get_by_role("slider", name="Requests")).to_have_count(1)


def test_what_others_do_to_a_key_shows_on_its_page(console: Console) -> None:
    key_id, secret = console.sidecar.create_key(name="changed by somebody else")
    with page_of(console.browser, console.base, console.token) as page:
        page.goto(f"/settings/api-keys/{key_id}")
        expect(page.locator(".heading")).to_contain_text("Active")
        console.sidecar.ask(secret)
        assert console.sidecar.admin("POST", f"/keys/{key_id}/revoke", {"reason": "leaked"}).status == 200
        expect(page.locator(".heading")).to_contain_text("Revoked", timeout=SLOWLY)
        expect(page.get_by_role("link", name="Rotate")).to_have_count(0)
        expect(page.get_by_role("region", name="Secrets")).to_contain_text("Revoked")
        expect(page.get_by_role("region", name="Audit trail")).to_contain_text("api_key.revoked")
        expect(page.get_by_role("region", name="Latest calls")).to_contain_text("chat", timeout=SLOWLY)


def test_new_alerts_come_to_the_list(console: Console) -> None:
    wait_until(lambda: console.sidecar.admin("GET", "/anomalies").json["data"], within=60, what="an alert")
    with page_of(console.browser, console.base, console.token) as page:
        for path in ("/alerts?state=all", f"/settings/api-keys/{console.keys['Playground']}"):
            page.goto(path)
            page.evaluate("document.querySelectorAll('article.alert').forEach((each) => each.remove())")
            expect(page.get_by_role("article").first).to_be_visible(timeout=SLOWLY)


def test_what_one_is_busy_with_stays(console: Console) -> None:
    with page_of(console.browser, console.base, console.token) as page:
        page.goto("/settings/api-keys?sort=name")
        page.get_by_label("Select Support bot").check()
        with page.expect_response(lambda response: response.request.headers.get("x-sidecar-live") == "1", timeout=SLOWLY):
            console.sidecar.create_key(name="aaa another")
        page.wait_for_timeout(300)
        expect(page.get_by_label("Select Support bot")).to_be_checked()


def test_what_was_typed_stays_when_one_looks_elsewhere(console: Console) -> None:
    wait_until(lambda: console.sidecar.admin("GET", "/anomalies?state=open").json["data"], within=60, what="an alert")
    with page_of(console.browser, console.base, console.token) as page:
        page.goto("/alerts")
        reason = page.get_by_label("Reason").first
        reason.fill("Asked its owner")
        page.get_by_role("heading", name="Alerts").click()
        with page.expect_response(lambda response: response.request.headers.get("x-sidecar-live") == "1", timeout=SLOWLY):
            pass
        page.wait_for_timeout(300)
        expect(reason).to_have_value("Asked its owner")


def test_updates_can_be_paused(console: Console) -> None:
    with page_of(console.browser, console.base, console.token) as page:
        page.goto("/calls")
        page.get_by_role("button", name="Pause updates").click()
        expect(page.get_by_role("button", name="Pause updates")).to_have_attribute("aria-pressed", "true")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.wait_for_timeout(6000)
        assert asked == []


def test_an_ended_session_leads_to_the_sign_in(console: Console) -> None:
    with page_of(console.browser, console.base, console.token) as page:
        page.goto("/calls")
        page.context.clear_cookies()
        page.wait_for_url("**/sign-in?next=%2Fcalls", timeout=SLOWLY)


def test_an_ended_session_takes_nothing_that_was_typed(console: Console) -> None:
    with page_of(console.browser, console.base, console.token) as page:
        page.goto("/settings/api-keys/new")
        page.get_by_label("Name (required)").fill("A long name")
        page.context.clear_cookies()
        expect(page.get_by_role("status")).to_contain_text("Your session has ended", timeout=SLOWLY)
        expect(page.get_by_label("Name (required)")).to_have_value("A long name")


def test_an_ended_session_takes_nothing_that_was_chosen(console: Console) -> None:
    with page_of(console.browser, console.base, console.token) as page:
        page.goto("/settings/api-keys/new")
        page.get_by_label("The key is valid").select_option("90")
        page.context.clear_cookies()
        expect(page.get_by_role("status")).to_contain_text("Your session has ended", timeout=SLOWLY)
        expect(page.get_by_label("The key is valid")).to_have_value("90")


def test_what_was_typed_can_be_sent_once_one_is_signed_in_again(console: Console) -> None:
    with page_of(console.browser, console.base, console.token) as page:
        page.goto("/settings/api-keys/new")
        page.get_by_label("Name (required)").fill("Typed before the session ended")
        end_the_session_and_sign_in_elsewhere(page, console)
        page.get_by_role("button", name="Generate key").click()
        expect(page.get_by_role("dialog", name="Your new API key")).to_contain_text("Typed before the session ended")


def test_a_question_about_several_keys_can_be_answered_once_one_is_signed_in_again(console: Console) -> None:
    key_id, _ = console.sidecar.create_key(name="one of several")
    with page_of(console.browser, console.base, console.token) as page:
        page.goto("/settings/api-keys?q=one of several")
        page.get_by_label("Select one of several").check()
        page.get_by_role("button", name="Revoke 1 selected").click()
        end_the_session_and_sign_in_elsewhere(page, console)
        page.get_by_role("button", name="Revoke 1 key").click()
        expect(page.get_by_role("status")).to_contain_text("The selected keys are revoked")
    assert console.sidecar.admin("GET", f"/keys/{key_id}").json["key"]["status"] == "revoked"


def test_a_wide_table_is_not_thrown_back_to_its_edge(console: Console) -> None:
    _, secret = console.sidecar.create_key(name="wide")
    console.sidecar.ask(secret)
    with page_of(console.browser, console.base, console.token, viewport={"width": 400, "height": 800}) as page:
        page.goto("/calls")
        page.locator("#calls .scroll").evaluate("table => { table.scrollLeft = 150; }")
        page.locator("#calls tbody tr").first.evaluate("row => { row.dataset.old = 'yes'; }")
        console.sidecar.ask(secret)
        expect(page.locator("#calls tr[data-old]")).to_have_count(0, timeout=SLOWLY)
        assert page.locator("#calls .scroll").evaluate("table => table.scrollLeft") == 150


def test_an_ended_session_takes_nothing_that_was_refused(console: Console) -> None:
    with page_of(console.browser, console.base, console.token) as page:
        key_with_faults(page)
        page.context.clear_cookies()
        expect(page.get_by_role("status")).to_contain_text("Your session has ended", timeout=SLOWLY)
        expect(page.get_by_label("Requests a minute")).to_have_value("many")
