"""One sidecar with its hub and one browser for all tests of the console."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser

from tests.console.seed import seed
from tests.support.browser import chromium
from tests.support.hub import ACCESS_KEY, hub_process
from tests.support.sidecar import Sidecar


@dataclass(frozen=True)
class Console:
    """Where it is, how to get in, what is in it."""

    sidecar: Sidecar
    browser: Browser
    keys: dict[str, str]

    @property
    def base(self) -> str:
        return self.sidecar.admin_url

    @property
    def token(self) -> str:
        return self.sidecar.admin_token

    def admin_token(self, role: str) -> str:
        """A further admin token."""
        answer = self.sidecar.admin("POST", "/admin-tokens", {"name": f"the {role}", "role": role})
        return str(answer.json["token"])


@pytest.fixture(scope="package")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with (
        chromium() as browser,
        hub_process() as hub,
        Sidecar(tmp_path_factory.mktemp("console"), hub.url, ACCESS_KEY) as sidecar,
    ):
        yield Console(sidecar, browser, seed(sidecar))
