"""The console in this process, on a real store, with a client that behaves like a browser."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from sidecar.control.admin.services import AdminServices
from sidecar.control.anomaly.document import document
from sidecar.control.anomaly.record import Anomaly, Evidence
from sidecar.control.console.app import build
from sidecar.control.queries import Anomalies, Judged
from sidecar.control.totals.series import Retention
from sidecar.control.usage.calls import Calls
from sidecar.control.usage.overview import Overview
from sidecar.control.usage.reports import Reports
from sidecar.events.record import Request
from sidecar.keys.digest import load
from sidecar.settings.declaration import Admin, Hub, Settings
from sidecar.settings.values import Secret
from sidecar.store.client import Store
from tests.control.admin.conftest import Clock, make_services, serve_app
from tests.control.support.folding import Folding, write, writer

_CSRF = re.compile(r'name="csrf" value="([^"]+)"')


@dataclass
class Page:
    """An answer."""

    status: int
    text: str
    headers: Any
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def location(self) -> str:
        return str(self.headers.get("Location", ""))


class Browser:
    """Keeps cookies by hand, follows nothing, says where its forms come from as a browser does."""

    def __init__(self, http: aiohttp.ClientSession, base: str) -> None:
        self.http = http
        self.base = base
        self.cookies: dict[str, str] = {}
        self.csrf = ""

    async def send(self, method: str, path: str, fields: Any = None, **headers: str) -> Page:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies and "Cookie" not in sent:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        async with self.http.request(method, self.base + path, data=fields, headers=sent, allow_redirects=False) as response:
            page = Page(response.status, await response.text(), response.headers)
            for name, morsel in response.cookies.items():
                page.cookies[name] = morsel.OutputString()
                self.cookies[name] = morsel.value
                if not morsel.value:
                    del self.cookies[name]
        found = _CSRF.search(page.text)
        self.csrf = found[1] if found else self.csrf
        return page

    async def get(self, path: str, **headers: str) -> Page:
        return await self.send("GET", path, **{"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "navigate", **headers})

    async def post(self, path: str, fields: dict[str, Any] | None = None, **headers: str) -> Page:
        filled = {"csrf": self.csrf, **(fields or {})}
        pairs = [(name, each) for name, value in filled.items() for each in (value if isinstance(value, list) else [value])]
        return await self.send("POST", path, pairs, **{"Sec_Fetch_Site": "same-origin", "Origin": self.base, **headers})

    async def sign_in(self, token: str) -> Page:
        page = await self.post("/sign-in", {"token": token})
        await self.get("/settings/preferences")
        return page


class Suspicions:
    """One open anomaly, in the form that the detection gives it."""

    def __init__(self, text: str = "first use from 203.0.113.0/24") -> None:
        evidence = Evidence("new_network", 3, 1000.0, text)
        self.anomaly = Anomaly("ano_1", "key", "key_" + "A" * 16, text, "", "page", 7, 1000.0, 1000.0, [evidence], active=["new_network"])
        self.asked: list[tuple[object, ...]] = []

    async def anomalies(self, *, key_id: str | None, state: str | None, level: str | None, limit: int, cursor: str) -> Anomalies:
        fits = key_id in (None, self.anomaly.key_id) and state in (None, self.anomaly.state) and level in (None, self.anomaly.level)
        return Anomalies([document(self.anomaly)] if fits else [])

    async def open_of(self, key_ids: Sequence[str]) -> list[dict[str, Any]]:
        return [document(self.anomaly)] if self.anomaly.key_id in key_ids else []

    async def acknowledge(self, anomaly_id: str, reason: str, actor: str) -> Judged:
        self.asked.append(("acknowledge", anomaly_id, reason))
        return self._judged(anomaly_id)

    async def mute(self, anomaly_id: str, until: float) -> Judged:
        self.asked.append(("mute", anomaly_id, until))
        return self._judged(anomaly_id)

    def _judged(self, anomaly_id: str) -> Judged:
        shown = document(self._known(anomaly_id))
        return Judged(shown, shown)

    def _known(self, anomaly_id: str) -> Anomaly:
        if anomaly_id != self.anomaly.id:
            raise LookupError(anomaly_id)
        return self.anomaly


@dataclass
class Console:
    """The running console."""

    services: AdminServices
    store: Store
    clock: Clock
    token: str
    base: str
    http: aiohttp.ClientSession

    def browser(self) -> Browser:
        """One that nobody has used yet."""
        return Browser(self.http, self.base)

    async def signed_in(self, role: str = "admin") -> Browser:
        """One whose user has signed in."""
        browser = self.browser()
        token = self.token
        if role != "admin":
            token = (await self.services.admin_tokens.create(role, role)).token  # type: ignore[arg-type]
        assert (await browser.sign_in(token)).status == 303
        return browser

    async def create(self, name: str = "a key", **fields: str) -> tuple[str, str]:
        """A key made through the form: its id and its secret."""
        browser = await self.signed_in("operator")
        await browser.get("/settings/api-keys/new")
        page = await browser.post("/settings/api-keys/new", {"name": name, "intent": name, **fields})
        assert page.status == 200, page.text
        secret = re.search(r"ahk_[0-9A-Za-z]{49}", page.text)
        key_id = re.search(r"/settings/api-keys/(key_[0-9A-Za-z]{16})", page.text)
        assert secret and key_id
        return key_id[1], secret[0]

    async def fold(self, *events: Request) -> None:
        """Bring finished requests into the store, as a running sidecar does."""
        directory = Path(self.services.settings.data_dir) / "spool"
        write(writer(directory), *events)
        await Folding(directory, self.store).run()


async def make_console(stack: AsyncExitStack, store: Store, data_dir: Path, **admin: Any) -> Console:
    """A console on a free port; `admin` are settings of its section."""
    clock = Clock()
    services, token = await make_services(store, data_dir, clock)
    section = Admin(**{"listen": services.settings.admin.listen, "allowed_hosts": ("console.example",), **admin})
    calls = Calls(store)
    reports = Reports(store, calls, _nobody, Retention(14 * 86400, 400 * 86400), clock)
    services = replace(services, settings=_with(services, section), usage=reports, calls=calls, anomalies=Suspicions())
    base = await serve_app(stack, build(services, store, load(data_dir / "pepper"), Overview(store, reports)))
    http = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
    return Console(services, store, clock, token, base, http)


def _with(services: AdminServices, admin: Admin) -> Settings:
    return msgspec.structs.replace(services.settings, admin=admin, hub=Hub(access_key=Secret("the-hubs-own-key")))


async def _nobody(key_ids: list[str]) -> dict[str, str]:
    return dict.fromkeys(key_ids, "")


@pytest.fixture
async def console(store: Store, tmp_path: Path) -> AsyncIterator[Console]:
    async with AsyncExitStack() as stack:
        yield await make_console(stack, store, tmp_path / "data")
