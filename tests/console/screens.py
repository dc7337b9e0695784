"""Every screen of the console by name, and the command that takes a picture of each: `python -m tests.console.screens [FOLDER]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.console.seed import seed
from tests.support.browser import chromium, page_of
from tests.support.hub import ACCESS_KEY, hub_process
from tests.support.sidecar import Sidecar, wait_until

WIDTHS = (320, 768, 1440)
SCHEMES = ("light", "dark")


def screens(keys: dict[str, str]) -> dict[str, str]:
    """Paths by name."""
    busy, rotated = keys["Support bot"], keys["Invoice assistant, production"]
    suspected = keys["Playground"]
    return {
        "api-keys": "/settings/api-keys",
        "api-keys-nothing-found": "/settings/api-keys?q=zzz",
        "generate-new-key": "/settings/api-keys/new",
        "api-keys-suspected": "/settings/api-keys?risk=any",
        "key": f"/settings/api-keys/{busy}",
        "key-30-days": f"/settings/api-keys/{rotated}?range=30d",
        "key-rotated": f"/settings/api-keys/{rotated}?range=1h",
        "key-suspected": f"/settings/api-keys/{suspected}?range=1h",
        "key-edit": f"/settings/api-keys/{busy}/edit",
        "rotate": f"/settings/api-keys/{rotated}/rotate",
        "revoke": f"/settings/api-keys/{busy}/revoke",
        "analytics": "/analytics?range=1h",
        "analytics-30-days": "/analytics?range=30d",
        "calls": "/calls",
        "alerts": "/alerts?state=all",
        "audit-log": "/audit-log?verify=yes",
        "system": "/system",
        "admin-tokens": "/settings/admin-tokens",
        "preferences": "/settings/preferences",
        "not-found": "/nowhere",
    }


def reveal(page: Page) -> None:
    """The dialog that shows a new key, as it opens."""
    page.goto("/settings/api-keys/new")
    page.get_by_label("Name (required)").fill("Short-lived key")
    page.get_by_role("button", name="Generate key").click()
    page.get_by_role("dialog", name="Your new API key").wait_for()


def leave_reveal(page: Page) -> None:
    """Close it as a person does."""
    page.get_by_label("I have stored this key in a safe place").check()
    page.get_by_role("button", name="Done").click()
    page.wait_for_url("**/settings/api-keys/key_*")


def take(browser: Browser, sidecar: Sidecar, keys: dict[str, str], folder: Path) -> None:
    """Pictures of every screen, in both colour schemes and all widths."""
    for scheme in SCHEMES:
        for width in WIDTHS:
            options = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
            with page_of(browser, sidecar.admin_url, **options) as page:
                page.goto("/sign-in")
                page.screenshot(path=folder / f"sign-in-{scheme}-{width}.png")
            with page_of(browser, sidecar.admin_url, sidecar.admin_token, **options) as page:
                for name, path in screens(keys).items():
                    page.goto(path)
                    page.screenshot(path=folder / f"{name}-{scheme}-{width}.png", full_page=True)
                reveal(page)
                page.screenshot(path=folder / f"reveal-{scheme}-{width}.png")
                leave_reveal(page)


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
