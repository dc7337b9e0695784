"""Settings › Admin Tokens: who may use console and admin API."""

from __future__ import annotations

from aiohttp import web

from sidecar.control.admin import endpoints
from sidecar.control.admin.errors import AdminError
from sidecar.control.admin.messages.operations import AdminTokenList, AdminTokenWithSecret
from sidecar.control.console.forms import faults_by_field
from sidecar.control.console.visit import Screen, Visit, see

PATH = "/settings/admin-tokens"
ROLES = (
    ("viewer", "viewer: sees everything, changes nothing"),
    ("operator", "operator: manages keys"),
    ("admin", "admin: also manages admin tokens"),
)


class AdminTokens:
    """For admins only."""

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
        """A new token, shown once."""
        try:
            answer = await visit.ask(
                endpoints.CREATE_ADMIN_TOKEN, body={"name": visit.form.get("name", "").strip(), "role": visit.form.get("role", "viewer")}
            )
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

    async def _page(self, visit: Visit, fault: str = "") -> web.StreamResponse:
        answer = await visit.ask(endpoints.LIST_ADMIN_TOKENS)
        assert isinstance(answer.document, AdminTokenList)
        return visit.page(
            "admin_tokens.html",
            status=400 if fault else 200,
            tokens=answer.document.data,
            roles=ROLES,
            form=visit.form,
            fault=fault,
        )
