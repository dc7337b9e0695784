"""Settings › Admin Tokens: who may use console and admin API."""

from __future__ import annotations

import secrets

from aiohttp import web

from sidecar.control.admin import endpoints
from sidecar.control.admin.errors import AdminError
from sidecar.control.admin.messages.operations import AdminTokenList, AdminTokenWithSecret
from sidecar.control.console.forms import faults_by_field
from sidecar.control.console.visit import Screen, Visit, see
from sidecar.keys.idempotency import Idempotency, IdempotencyConflict

PATH = "/settings/admin-tokens"
ROLES = (
    ("viewer", "viewer: sees everything, changes nothing"),
    ("operator", "operator: manages keys"),
    ("admin", "admin: also manages admin tokens"),
)


class AdminTokens:
    """For admins only."""

    def __init__(self, idempotency: Idempotency) -> None:
        self._idempotency = idempotency

    def screens(self) -> list[Screen]:
        """List, create, revoke."""
        return [
            Screen("GET", PATH, self.show, "admin"),
            Screen("POST", PATH, self.create, "admin"),
            Screen("POST", f"{PATH}/{{token_id}}/revoke", self.revoke, "admin"),
        ]

    async def show(self, visit: Visit) -> web.StreamResponse:
        """All of them, and a form for another."""
        return await self._page(visit)

    async def create(self, visit: Visit) -> web.StreamResponse:
        """A new token, shown once; a form that is sent again, as by a reload, makes no other."""
        name, role = visit.form.get("name", "").strip(), visit.form.get("role", "viewer")
        if not await self._first(visit, f"{role} {name}"):
            return await self._page(visit, repeated=True)
        try:
            answer = await visit.ask(endpoints.CREATE_ADMIN_TOKEN, body={"name": name, "role": role})
        except AdminError as error:
            if error.problem.status != 400:
                raise
            return await self._page(visit, fault=faults_by_field(error.faults).get("name", error.detail))
        assert isinstance(answer.document, AdminTokenWithSecret)
        return visit.page("admin_token.html", token=answer.document.admin_token, secret=answer.document.token)

    async def revoke(self, visit: Visit) -> web.StreamResponse:
        """End one, and with it the sessions that it opened."""
        await visit.ask(endpoints.REVOKE_ADMIN_TOKEN, path=dict(visit.path))
        return see(PATH, "token-revoked")

    async def _first(self, visit: Visit, asked: str) -> bool:
        """Whether this form has not been sent before. Each page has one of its own, so one that was refused can be mended."""
        intent = visit.form.get("intent", "")[:64]
        try:
            return not intent or (await self._idempotency.claim(visit.actor.id, f"{PATH} {intent}", asked.encode(), "")).first
        except IdempotencyConflict:
            return False

    async def _page(self, visit: Visit, fault: str = "", *, repeated: bool = False) -> web.StreamResponse:
        answer = await visit.ask(endpoints.LIST_ADMIN_TOKENS)
        assert isinstance(answer.document, AdminTokenList)
        return visit.page(
            "admin_tokens.html",
            status=400 if fault else 409 if repeated else 200,
            repeated=repeated,
            intent=secrets.token_urlsafe(16),
            tokens=answer.document.data,
            roles=ROLES,
            form=visit.form,
            fault=fault,
        )
