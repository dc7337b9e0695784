"""Every screen, in both colour schemes and three widths: axe finds nothing, nothing runs over the edge or over each other, targets are large enough."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.console.conftest import Console
from tests.console.screens import SCHEMES, WIDTHS, every_screen, outside
from tests.support.browser import page_of
from tests.support.sidecar import wait_until

# What passed is neither written down nor told: that is most of the work.
RULES = {"resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
VIOLATIONS = "async (rules) => (await axe.run(rules)).violations"
SMALL_TARGETS = """() => [...document.querySelectorAll('a, button, input, select, textarea, summary')].filter((each) => {
    const box = each.getBoundingClientRect();
    const inline = each.matches('p a, li a, td a, th a, dd a, h2 a, .alarm a') && getComputedStyle(each).display === 'inline';
    return box.width > 1 && box.height > 1 && !inline && (box.width < 24 || box.height < 24) && !each.closest('.crumbs');
}).map((each) => each.outerHTML.slice(0, 120))"""
OVERLAPS = """() => {
    const shown = [...document.querySelectorAll('input, select, textarea, button, .button, .cards td, .cards .number')].filter((each) => each.checkVisibility());
    const boxes = shown.map((each) => [each, each.getBoundingClientRect()]);
    return boxes.flatMap(([one, a], place) => boxes.slice(place + 1).filter(([other, b]) => !one.contains(other)
        && Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1
    ).map(([other]) => one.outerHTML.slice(0, 80) + ' and ' + other.outerHTML.slice(0, 80)));
}"""
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


COLOURS = {"resultTypes": ["violations"], "runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
"""What a second colour scheme can break: the rest of a page stays as it was."""
STILL = {"viewport": {"width": WIDTHS[0], "height": 800}, "reduced_motion": "reduce"}
"""Colours that are on their way from one scheme to the other are neither's."""


def faults(page: Page, name: str, axe: Axe) -> list[str]:
    """What is wrong with the page that is open, in any width and scheme."""
    page.evaluate(axe.axe_script)
    told: list[str] = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        place = f"{name} at {width}"
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            violations = page.evaluate(VIOLATIONS, RULES if scheme == SCHEMES[0] else COLOURS)
            told += [f"{place}, {scheme}: {each['id']}: {node['html'][:200]}" for each in violations for node in each["nodes"][:3]]
        if page.evaluate(OVERFLOW) > 0:
            told.append(f"{place}: runs over the edge")
        told += [f"{place}: on each other: {both}" for both in page.evaluate(OVERLAPS)]
        told += [f"{place}: small target {target}" for target in page.evaluate(SMALL_TARGETS)]
    return told


LONGEST = "W" * 128
BROWSER = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
OUTSIDE = """() => [...document.querySelectorAll('dt, dd, .chip, .note, p, h1, h2')].filter((each) => each.checkVisibility()
    && !each.closest('.scroll, .unseen') && each.getBoundingClientRect().right > each.parentElement.getBoundingClientRect().right + 1
).map((each) => each.outerHTML.slice(0, 80))"""


def test_nothing_is_too_long_for_a_narrow_window(console: Console) -> None:
    """Names of one word, as long as they may be, and agents as browsers send them."""
    limits = dict.fromkeys(("rpm", "tpm", "max_concurrency"), 9_007_199_254_740_991)
    details = {"tags": ["t" * 64], "metadata": {"m" * 64: "v" * 512}, "limits": limits, "allowed_models": ["o" * 256, "*"]}
    key_id, secret = console.sidecar.create_key(name=LONGEST, owner=LONGEST, **details)
    assert console.sidecar.ask(secret, User_Agent=BROWSER).status == 200
    wait_until(lambda: console.sidecar.admin("GET", f"/keys/{key_id}/usage").json["totals"]["requests"], within=10, what="use")
    assert console.sidecar.admin("POST", f"/keys/{key_id}/rotate", {"grace_period": "1h"}).status == 200
    home = f"/settings/api-keys/{key_id}"
    found = []
    with page_of(console.browser, console.base, console.token, **STILL) as page:
        ended = page.goto(home) and page.get_by_role("link", name="End ahk_").get_attribute("href")
        acts = [f"{home}/{act}" for act in ("edit", "rotate", "revoke")]
        for path in (home, *acts, str(ended), "/settings/api-keys?q=WWW", "/analytics?range=1h"):
            page.goto(path)
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 800})
                if page.evaluate(OVERFLOW) > 0:
                    found.append(f"{path} at {width}: runs over the edge")
                found += [f"{path} at {width}: outside of its place: {each}" for each in page.evaluate(OUTSIDE)]
    assert not found, "\n".join(found)


def test_every_screen(console: Console) -> None:
    axe = Axe()
    with page_of(console.browser, console.base, **STILL) as page:
        found = [fault for name in outside(page) for fault in faults(page, name, axe)]
    with page_of(console.browser, console.base, console.token, **STILL) as page:
        found += [fault for name in every_screen(page, console.keys) for fault in faults(page, name, axe)]
    assert not found, "\n".join(found)
