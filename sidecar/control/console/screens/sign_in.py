"""Signing in with an admin token, and signing out."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from sidecar.control.admin.authentication import Actor, Authenticator
from sidecar.control.admin.errors import AdminError
from sidecar.control.admin.origin import address, agent, request_id
from sidecar.control.admin.recorder import party
from sidecar.control.audit import AuditLog, Source, draft
from sidecar.control.console.door import SIGN_IN
from sidecar.control.console.guard import HOME, local
from sidecar.control.console.posted import posted
from sidecar.control.console.preferences import COOKIE, Preferences
from sidecar.control.console.rendering import Pages
from sidecar.control.console.sessions import Sessions
from sidecar.control.console.visit import Screen, Visit, see


class SignIn:
    """The only pages that are open to everybody."""

    def __init__(self, authenticator: Authenticator, sessions: Sessions, audit: AuditLog, pages: Pages, clock: Callable[[], float]) -> None:
        self._authenticator = authenticator
        self._sessions = sessions
        self._audit = audit
        self._pages = pages
        self._clock = clock

    def screens(self) -> list[Screen]:
        """What needs a session."""
        return [Screen("POST", "/sign-out", self.sign_out)]

    async def show(self, request: web.Request) -> web.StreamResponse:
        """The form; whoever is in already is sent on."""
        target = local(request.query.get("next", HOME))
        if await self._sessions.find(request) is not None:
            return see(target)
        return self._form(request, target, signed_out=request.query.get("done") == "signed-out")

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        """Check the token and open a session; a session that the browser came with ends."""
        form = dict(await posted(request))
        target = local(form.get("next", HOME))
        token = form.get("token", "").strip()
        try:
            actor = await self._authenticator.holder(token, address(request))
        except AdminError as error:
            return self._form(request, target, refusal=error)
        earlier = await self._sessions.find(request)
        if earlier is not None:
            await self._sessions.close(earlier)
            await self._record(request, "session.ended", earlier.actor)
        session = await self._sessions.open(actor)
        await self._record(request, "session.started", session.actor)
        response = see(target)
        self._sessions.put_cookie(request, response, session)
        return response

    async def sign_out(self, visit: Visit) -> web.StreamResponse:
        """End the session here and in the store."""
        await self._sessions.close(visit.session)
        await self._record(visit.request, "session.ended", visit.actor)
        response = see(SIGN_IN, "signed-out")
        self._sessions.drop_cookie(response)
        response.headers["Clear-Site-Data"] = '"cache"'
        return response

    def _form(
        self, request: web.Request, target: str, *, refusal: AdminError | None = None, signed_out: bool = False
    ) -> web.StreamResponse:
        response = self._pages.page(
            "sign_in.html",
            self._clock(),
            status=200 if refusal is None else refusal.problem.status,
            target=target,
            refusal="" if refusal is None else refusal.detail,
            signed_out=signed_out,
            preferences=Preferences.parse(request.cookies.get(COOKIE, "")),
        )
        if refusal is not None and refusal.problem.retry_after:
            response.headers["Retry-After"] = str(refusal.problem.retry_after)
        return response

    async def _record(self, request: web.Request, action: str, actor: Actor) -> None:
        source = Source(address(request), agent(request))
        await self._audit.append(draft(action, party(actor), now=self._clock(), source=source, request_id=request_id(request)))
