"""By keyboard alone: order of focus, nothing hidden behind something else, shortcuts and how to be rid of them, charts and tables."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.console.conftest import Console
from tests.console.screens import screens
from tests.support.browser import page_of

OBSCURED = """() => {
    const each = document.activeElement;
    if (each === document.body) return '';
    const box = each.getBoundingClientRect();
    const [x, y] = [box.left + Math.min(box.width, 40) / 2, box.top + box.height / 2];
    const top = document.elementFromPoint(x, y);
    return top && (each.contains(top) || top.contains(each)) ? '' : each.outerHTML.slice(0, 100);
}"""
PLACE = """() => {
    const each = document.activeElement, box = each.getBoundingClientRect();
    const style = getComputedStyle(each);
    return {tag: each.tagName, name: each.textContent.trim().slice(0, 30) || each.getAttribute('name') || '', outline: style.outlineStyle,
            at: [...document.querySelectorAll('*')].indexOf(each)};
}"""


def focus_walk(page: Page, most: int = 60) -> list[dict[str, object]]:
    """Everything that Tab reaches from the first link on, in order."""
    found: list[dict[str, object]] = []
    # Where a page begins elsewhere (Cancel, before something is destroyed), Tab comes back to its top by way of the browser's own controls.
    page.evaluate("document.querySelector('a[href]').focus()")
    for number in range(most):
        if number:
            page.keyboard.press("Tab")
        place = page.evaluate(PLACE)
        if place["tag"] == "BODY" or place in found[:1]:
            break
        hidden = page.evaluate(OBSCURED)
        assert not hidden, f"focus is obscured: {hidden}"
        found.append(place)
    return found


def test_focus_follows_the_page_and_is_always_seen(console: Console) -> None:
    with page_of(console.browser, console.base, console.token, viewport={"width": 1024, "height": 600}) as page:
        for name in ("api-keys", "generate-new-key", "analytics", "alerts", "revoke"):
            page.goto(screens(console.keys)[name])
            places = focus_walk(page)
            order = [place["at"] for place in places]
            assert order == sorted(order), name  # type: ignore[type-var]
            assert [place for place in places if place["outline"] == "none"] == [], name
            assert places[0]["name"] == "Skip to content"


def test_the_skip_link_leads_past_the_navigation(console: Console) -> None:
    with page_of(console.browser, console.base, console.token) as page:
        page.goto("/system")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"


def test_shortcuts(console: Console) -> None:
    with page_of(console.browser, console.base, console.token) as page:
        page.goto("/settings/api-keys")
        page.keyboard.press("/")
        expect(page.get_by_role("searchbox")).to_be_focused()
        page.keyboard.type("n?/")
        expect(page.get_by_role("searchbox")).to_have_value("n?/")
        page.get_by_role("searchbox").blur()
        page.keyboard.press("?")
        dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
        expect(dialog.get_by_role("button", name="Close")).to_be_focused()
        page.keyboard.press("Escape")
        page.keyboard.press("n")
        expect(page).to_have_url(f"{console.base}/settings/api-keys/new")


def test_no_shortcut_leads_to_what_one_may_not_do(console: Console) -> None:
    with page_of(console.browser, console.base, console.admin_token("viewer")) as page:
        page.goto("/calls")
        page.keyboard.press("n")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keyboard shortcuts")).not_to_contain_text("Generate a new key")
        assert page.url.endswith("/calls")


def test_shortcuts_can_be_turned_off(console: Console) -> None:
    with page_of(console.browser, console.base, console.token) as page:
        page.goto("/settings/preferences")
        page.get_by_label("Single-key shortcuts").uncheck()
        page.get_by_role("button", name="Save preferences").click()
        expect(page.get_by_text("Preferences saved.")).to_be_visible()
        page.keyboard.press("n")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(page).to_have_url(f"{console.base}/settings/preferences?done=preferences")


def test_arrows_move_through_a_table(console: Console) -> None:
    with page_of(console.browser, console.base, console.token) as page:
        page.goto("/settings/api-keys?sort=name&owner=platform")
        page.get_by_role("link", name="Data pipeline, nightly").focus()
        page.keyboard.press("ArrowDown")
        expect(page.get_by_role("link", name="Search indexer")).to_be_focused()
        page.keyboard.press("ArrowUp")
        expect(page.get_by_role("link", name="Data pipeline, nightly")).to_be_focused()


def test_a_chart_is_read_by_arrows_and_under_the_pointer(console: Console) -> None:
    with page_of(console.browser, console.base, console.token) as page:
        page.goto("/analytics?range=1h")
        chart = page.get_by_role("slider", name="Requests")
        chart.focus()
        page.keyboard.press("End")
        last = chart.get_attribute("aria-valuetext") or ""
        assert last.count(":") >= 2 and "ok" in last
        page.keyboard.press("ArrowLeft")
        assert chart.get_attribute("aria-valuetext") != last
        expect(page.locator("#requests [data-readout]")).to_contain_text("ok")
        chart.blur()
        box = chart.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 20)
        expect(page.locator("#requests [data-readout]")).to_have_text(last)


def test_picking_rows_says_how_many(console: Console) -> None:
    with page_of(console.browser, console.base, console.token) as page:
        page.goto("/settings/api-keys")
        button = page.get_by_role("button", name="Revoke selected…")
        expect(button).to_be_disabled()
        page.get_by_label("Select Support bot").check()
        expect(page.get_by_role("button", name="Revoke 1 selected…")).to_be_enabled()
        page.get_by_label("Select all keys of this page").check()
        assert page.locator("input[name=key]:checked").count() > 1


def test_without_motion_nothing_moves(console: Console) -> None:
    with page_of(console.browser, console.base, console.token, reduced_motion="reduce") as page:
        page.goto("/settings/api-keys")
        assert page.evaluate("[...document.querySelectorAll('*')].every((each) => getComputedStyle(each).transitionDuration === '0s')")
