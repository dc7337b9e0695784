"""Every screen of the console by name, and the command that takes a picture of each: `python -m tests.console.screens [FOLDER]`."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.console.seed import seed
from tests.support.browser import chromium, page_of
from tests.support.hub import ACCESS_KEY, hub_process
from tests.support.sidecar import Sidecar, wait_until

WIDTHS = (320, 768, 1440)
SCHEMES = ("light", "dark")


def screens(keys: dict[str, str]) -> dict[str, str]:
    """Paths by name; `clicked` has the screens without one."""
    busy, rotated = keys["Support bot"], keys["Invoice assistant, production"]
    suspected = keys["Playground"]
    return {
        "api-keys": "/settings/api-keys",
        "api-keys-nothing-found": "/settings/api-keys?q=zzz",
        "api-keys-expiring": "/settings/api-keys?sort=expires_at",
        "generate-new-key": "/settings/api-keys/new",
        "api-keys-suspected": "/settings/api-keys?risk=any",
        "key": f"/settings/api-keys/{busy}",
        "key-30-days": f"/settings/api-keys/{rotated}?range=30d",
        "key-rotated": f"/settings/api-keys/{rotated}?range=1h",
        "key-suspected": f"/settings/api-keys/{suspected}?range=1h",
        "key-disabled": f"/settings/api-keys/{keys['Search indexer']}",
        "key-edit": f"/settings/api-keys/{busy}/edit",
        "rotate": f"/settings/api-keys/{rotated}/rotate",
        "revoke": f"/settings/api-keys/{busy}/revoke",
        "analytics": "/analytics?range=1h",
        "analytics-30-days": "/analytics?range=30d",
        "analytics-nothing": "/analytics?from=2026-01-01T00:00&to=2026-01-02T00:00",
        "calls": "/calls",
        "calls-fault": "/calls?key=shop",
        "alerts": "/alerts?state=all",
        "audit-log": "/audit-log?verify=yes",
        "system": "/system",
        "admin-tokens": "/settings/admin-tokens",
        "preferences": "/settings/preferences",
        "not-found": "/nowhere",
    }


def clicked(keys: dict[str, str]) -> dict[str, Callable[[Page], None]]:
    """Screens that no path leads to, each with the clicks that do, in their order. None of them changes what was there before."""
    return {
        "generate-new-key-faults": key_with_faults,
        "reveal": reveal,
        "rotated-reveal": rotated_reveal,
        "end-secret": lambda page: end_secret(page, keys["Invoice assistant, production"]),
        "revoke-fault": lambda page: revoke_with_a_wrong_name(page, keys["Support bot"]),
        "bulk-revoke": revoke_several,
        "bulk-revoke-fault": revoke_a_wrong_number,
        "admin-token-fault": lambda page: new_admin_token(page, " "),
        "admin-token-reveal": reveal_admin_token,
    }


def every_screen(page: Page, keys: dict[str, str]) -> Iterator[str]:
    """Opens one after the other, and gives its name."""
    for name, path in screens(keys).items():
        page.goto(path)
        yield name
    for name, clicks in clicked(keys).items():
        clicks(page)
        yield name
        if "reveal" in name:
            leave_reveal(page)


def outside(page: Page) -> Iterator[str]:
    """The screens of somebody who is not signed in."""
    page.goto("/sign-in")
    yield "sign-in"
    page.get_by_label("Admin token").fill("sat_mistyped")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").wait_for()
    yield "sign-in-refused"


def key_with_faults(page: Page) -> None:
    page.goto("/settings/api-keys/new")
    page.get_by_text("How much it may use").click()
    page.get_by_label("Requests a minute").fill("many")
    page.get_by_role("button", name="Generate key").click()
    page.get_by_role("heading", name="Some entries need another look").wait_for()


def reveal(page: Page) -> None:
    """The dialog that shows a new key, as it opens."""
    page.goto("/settings/api-keys/new")
    page.get_by_label("Name (required)").fill("Short-lived key")
    page.get_by_role("button", name="Generate key").click()
    page.get_by_role("dialog", name="Your new API key").wait_for()


def rotated_reveal(page: Page) -> None:
    """The dialog that shows the new secret of a key, from its page: that of the key which `reveal` has left behind."""
    page.get_by_role("link", name="Rotate").click()
    page.get_by_role("button", name="Rotate key").click()
    page.get_by_role("dialog", name="The new secret").wait_for()


def reveal_admin_token(page: Page) -> None:
    """The dialog that shows a new admin token."""
    new_admin_token(page, "Olga")
    page.get_by_role("dialog", name="The new admin token").wait_for()


def leave_reveal(page: Page) -> None:
    """Close it as a person does."""
    page.get_by_label("I have stored this").check()
    page.get_by_role("button", name="Done").click()
    page.wait_for_url(re.compile("done=stored"))


def end_secret(page: Page, key_id: str) -> None:
    page.goto(f"/settings/api-keys/{key_id}")
    page.get_by_role("link", name=re.compile("^End ahk_.* now")).click()
    page.get_by_role("button", name="End the secret").wait_for()


def revoke_with_a_wrong_name(page: Page, key_id: str) -> None:
    page.goto(f"/settings/api-keys/{key_id}/revoke")
    page.get_by_label("Type the name").fill("something else")
    page.get_by_role("button", name="Revoke key").click()
    page.get_by_role("alert").wait_for()


def revoke_several(page: Page) -> None:
    page.goto("/settings/api-keys")
    for name in ("Support bot", "Mobile app, beta", "Search indexer"):
        page.get_by_label(f"Select {name}").check()
    page.get_by_role("button", name="Revoke").click()
    page.get_by_label("Type how many").wait_for()


def revoke_a_wrong_number(page: Page) -> None:
    revoke_several(page)
    page.get_by_label("Type how many").fill("2")
    page.get_by_role("button", name="Revoke 3 keys").click()
    page.get_by_role("alert").wait_for()


def new_admin_token(page: Page, name: str) -> None:
    page.goto("/settings/admin-tokens")
    page.get_by_label("Name (required)").fill(name)
    page.get_by_role("button", name="Create admin token").click()


def take(browser: Browser, sidecar: Sidecar, keys: dict[str, str], folder: Path) -> None:
    """Pictures of every screen, in both colour schemes and all widths."""
    for scheme in SCHEMES:
        for width in WIDTHS:
            options = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
            with page_of(browser, sidecar.admin_url, **options) as page:
                for name in outside(page):
                    page.screenshot(path=folder / f"{name}-{scheme}-{width}.png")
            with page_of(browser, sidecar.admin_url, sidecar.admin_token, **options) as page:
                for name in every_screen(page, keys):
                    # A dialog stands in the window, wherever the page under it ends.
                    page.screenshot(path=folder / f"{name}-{scheme}-{width}.png", full_page=page.locator("dialog:modal").count() == 0)


def main(arguments: list[str]) -> int:
    """Start everything, fill it, take the pictures."""
    folder = Path(arguments[0] if arguments else "build/screens")
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as directory,
        chromium() as browser,
        hub_process() as hub,
        Sidecar(Path(directory), hub.url, ACCESS_KEY) as sidecar,
    ):
        keys = seed(sidecar)
        wait_until(lambda: sidecar.admin("GET", "/anomalies").json["data"], within=60, what="an alert")
        take(browser, sidecar, keys, folder)
    print(f"{len(list(folder.glob('*.png')))} pictures in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
