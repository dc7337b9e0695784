"""The admin API served on loopback: real keys, tokens, idempotency and audit log on a real store; use, calls and status as data."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sidecar.control.admin.app import application, bind
from sidecar.control.admin.services import AdminServices
from sidecar.control.audit import AuditLog, Journal
from sidecar.control.queries import Anomalies, CallPage, GroupBy, Judged, Step, UsageGroup, UsageGroups, UsageReport, Use
from sidecar.events.record import Request, Tokens
from sidecar.keys.admin_tokens import AdminTokens
from sidecar.keys.idempotency import Idempotency
from sidecar.keys.repository import KeyRepository
from sidecar.keys.setup import prepare
from sidecar.settings.declaration import Admin, Keys, Settings
from sidecar.settings.values import Listen
from sidecar.store.client import Store


class Clock:
    """Real time, until it is stepped."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


@dataclass
class Recorded:
    """Use and calls as they are given; remembers what was asked."""

    calls_kept: list[Request] = field(default_factory=list)
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    async def usage(self, key_id: str | None, start: float | None, end: float | None, step: Step, group_by: GroupBy | None) -> UsageReport:
        self.asked.append((key_id, start, end, step, group_by))
        use = Use(requests=3, errors=1, input_tokens=10, output_tokens=20, credits=0.5)
        group = UsageGroup("=model" if group_by == "model" else key_id or "key_0", use, [(60.0, use)])
        return UsageReport(start, end, step, use, [(60.0, use)], None if group_by is None else UsageGroups.of([group]))

    async def calls(
        self, *, key_id: str | None, outcome: str | None, start: float | None, end: float | None, limit: int, cursor: str
    ) -> CallPage:
        if cursor and not cursor.isdigit():
            raise ValueError(cursor)
        first = int(cursor or 0)
        wanted = [call for call in self.calls_kept if key_id in (None, call.key_id) and outcome in (None, call.outcome)]
        rest = wanted[first : first + limit]
        return CallPage(rest, str(first + limit) if first + limit < len(wanted) else "")

    async def snapshot(self) -> dict[str, Any]:
        return {"store": {"up": True}, "hub": {}, "workers": [], "spool": {}, "versions": {}}


class Detected:
    """One anomaly."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {"id": "ano_1", "state": "open", "evidence": ["first use from 203.0.113.0/24"]}

    async def anomalies(self, *, key_id: str | None, state: str | None, level: str | None, limit: int, cursor: str) -> Anomalies:
        if cursor:
            raise ValueError(cursor)
        return Anomalies([self.document] if state in (None, self.document["state"]) else [])

    async def acknowledge(self, anomaly_id: str, reason: str, actor: str) -> Judged:
        return self._judged(anomaly_id, state="acknowledged", reason=reason)

    async def mute(self, anomaly_id: str, until: float) -> Judged:
        return self._judged(anomaly_id, muted_until=until)

    def _judged(self, anomaly_id: str, **said: object) -> Judged:
        if anomaly_id != self.document["id"]:
            raise LookupError(anomaly_id)
        before = dict(self.document)
        self.document |= said
        return Judged(before, self.document)


def call(number: int, key_id: str = "key_0", **members: Any) -> Request:
    """A finished request."""
    plain: dict[str, Any] = {
        "time": 1000.0 - number, "request_id": f"req_{number}", "key_id": key_id, "secret_id": "sec_1", "outcome": "ok", "reason": "",
        "status": 200, "hub_status": 200, "method": "POST", "route": "chat", "path": "/api/v2/chat", "model": "m", "model_served": "m",
        "client": "203.0.113.7", "agent": "curl", "streaming": False, "ending": "complete", "total": 0.25, "auth": 0.001, "queue": 0.0,
        "first_byte": 0.2, "hub_time": 0.2, "bytes_in": 10, "bytes_out": 20, "tokens": Tokens(1, 2),
    }  # fmt: skip
    return Request(**(plain | members))


class Api:
    """A client of the API; `token` is sent unless a call names another one."""

    def __init__(self, session: aiohttp.ClientSession, base: str, token: str, services: AdminServices, clock: Clock) -> None:
        self.session = session
        self.base = base
        self.token = token
        self.services = services
        self.clock = clock
        self.recorded = services.usage
        assert isinstance(self.recorded, Recorded)

    async def call(
        self, method: str, path: str, json: Any = None, *, token: str | None = None, headers: dict[str, str] | None = None, data: Any = None
    ) -> tuple[int, Any, aiohttp.ClientResponse]:
        """Status, decoded body (text when it is not JSON), response."""
        sent = dict(headers or {})
        bearer = self.token if token is None else token
        if bearer and "Authorization" not in sent:
            sent["Authorization"] = f"Bearer {bearer}"
        url = path if path.startswith("http") else f"{self.base}{path}"
        async with self.session.request(method, url, json=json, data=data, headers=sent) as response:
            is_json = response.content_type == "application/json"
            body = await (response.json() if is_json and method != "HEAD" else response.text())
            return response.status, body, response

    async def key(self, **members: Any) -> tuple[dict[str, Any], str]:
        """Create a key; the object and the secret."""
        status, body, _ = await self.call("POST", "/admin/v1/keys", {"name": "k", **members})
        assert status == 201, body
        return body["key"], body["secret"]

    async def events(self, query: str = "") -> list[dict[str, Any]]:
        """The audit log, newest first."""
        status, body, _ = await self.call("GET", f"/admin/v1/audit-events?{query}")
        assert status == 200, body
        events: list[dict[str, Any]] = body["data"]
        return events

    async def admin_token(self, role: str) -> str:
        """A token of this role."""
        status, body, _ = await self.call("POST", "/admin/v1/admin-tokens", {"name": role, "role": role})
        assert status == 201, body
        return str(body["token"])


async def make_services(store: Store, data_dir: Path, clock: Clock, *, accept_imported: bool = True) -> tuple[AdminServices, str]:
    """Everything real that there is, and the first admin token."""
    settings = Settings(
        data_dir=str(data_dir),
        keys=Keys(pepper_file=str(data_dir / "pepper"), accept_imported=accept_imported),
        admin=Admin(listen=Listen.parse("127.0.0.1:0"), allowed_hosts=("console.example",)),
    )
    setup = prepare(settings)
    await setup.adoption.establish(store)
    tokens = AdminTokens(store, setup.adoption, setup.digester, clock=clock)
    await tokens.ensure_first(data_dir / "admin-token")
    recorded = Recorded()
    services = AdminServices(
        settings=settings,
        keys=KeyRepository(store, setup.adoption, setup.digester, clock=clock),
        admin_tokens=tokens,
        idempotency=Idempotency(store),
        audit=AuditLog(store, Journal(data_dir / "audit"), clock),
        usage=recorded,
        calls=recorded,
        status=recorded,
        clock=clock,
        anomalies=Detected(),
    )
    return services, (data_dir / "admin-token").read_text().strip()


async def serve(stack: AsyncExitStack, services: AdminServices) -> str:
    """Serve the API on a free port of loopback until `stack` ends; its address."""
    return await serve_app(stack, application(bind(services), services.audit))


async def serve_app(stack: AsyncExitStack, app: web.Application) -> str:
    """The same for a whole application."""
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def services(store: Store, tmp_path: Path, clock: Clock) -> AdminServices:
    return (await make_services(store, tmp_path / "data", clock))[0]


@pytest.fixture
async def api(services: AdminServices, clock: Clock) -> AsyncIterator[Api]:
    """The API with everything on."""
    async with AsyncExitStack() as stack:
        base = await serve(stack, services)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        token = (Path(services.settings.data_dir) / "admin-token").read_text().strip()
        yield Api(session, base, token, services, clock)


__all__ = ["Api", "Clock", "Detected", "Recorded", "call", "make_services", "serve", "serve_app"]
