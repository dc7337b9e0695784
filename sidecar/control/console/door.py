"""The way of every page: host → session → origin and token of a form → role → screen → page.

Nobody passes without a session. What fails becomes a page that says what to do, never a bare error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final
from urllib.parse import quote, urlencode

from aiohttp import web

from sidecar.control.admin import errors
from sidecar.control.admin.app import AdminApi
from sidecar.control.admin.endpoint import Handler
from sidecar.control.admin.errors import AdminError
from sidecar.control.admin.origin import request_id, shown_path
from sidecar.control.console.early import EarlyPage
from sidecar.control.console.guard import PAGE_HEADERS, forged, from_another_site
from sidecar.control.console.posted import posted
from sidecar.control.console.preferences import COOKIE, Preferences
from sidecar.control.console.rendering import Pages
from sidecar.control.console.sessions import Session, Sessions, same
from sidecar.control.console.visit import Screen, Visit
from sidecar.store.errors import StoreNotAdopted, StoreUnavailable

LIVE_HEADER: Final = "X-Sidecar-Live"
"""Sent by a page that refreshes itself: a forgotten tab must not keep its session alive."""
SIGN_IN: Final = "/sign-in"

_log = logging.getLogger(__name__)


class Door:
    """Makes aiohttp handlers out of screens; `clock` gives Unix seconds."""

    def __init__(self, api: AdminApi, sessions: Sessions, pages: Pages, clock: Callable[[], float]) -> None:
        self._api = api
        self._sessions = sessions
        self._pages = pages
        self._clock = clock

    def handler(self, screen: Screen) -> Handler:
        """A handler that only lets signed-in people with the screen's role in."""

        async def handle(request: web.Request) -> web.StreamResponse:
            session = await self._sessions.find(request, in_use=LIVE_HEADER not in request.headers)
            if session is None:
                return self._outside(request)
            visit = await self._visit(request, session)
            await self._api.dispatcher.check_role(screen.role, f"console {screen.path}", visit.actor, request)
            return await screen.handler(visit)

        return self.guarded(handle)

    def guarded(self, handler: Handler) -> Handler:
        """A handler behind the host check, whose failures are pages."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                self._api.dispatcher.check_host(request)
                if request.method not in ("GET", "HEAD") and forged(request.headers, request.host):
                    raise AdminError(errors.FORBIDDEN, "This form was sent from another site, so nothing was done.")
                return await handler(request)
            except AdminError as error:
                return await self._refused(request, error)
            except StoreNotAdopted:
                return await self._refused(request, AdminError(errors.STORE_NOT_ADOPTED))
            except StoreUnavailable as error:
                _log.warning("%s %s: %s", request.method, shown_path(request), error)
                return await self._refused(request, AdminError(errors.KEY_STORE_UNAVAILABLE))
            except web.HTTPRequestEntityTooLarge:
                return await self._refused(request, AdminError(errors.REQUEST_TOO_LARGE))
            except Exception:
                # The outermost frame of a page: whatever it is, the person gets a page and the log gets the reason.
                _log.exception("%s %s failed", request.method, shown_path(request))
                return await self._refused(request, AdminError(errors.INTERNAL_ERROR))

        return handle

    async def missing(self, request: web.Request) -> web.StreamResponse:
        """The page of an address where nothing is."""
        raise AdminError(errors.NOT_FOUND, f"There is no page at {shown_path(request)}.")

    async def _visit(self, request: web.Request, session: Session) -> Visit:
        fields = await posted(request) if request.method == "POST" else []
        form = dict(fields)
        if request.method == "POST" and not same(form.get("csrf", ""), session.csrf):
            raise AdminError(errors.FORBIDDEN, "This form is out of date, so nothing was done. Go back, reload the page and send it again.")
        chosen = tuple(value for name, value in fields if name == "key")
        preferences = Preferences.parse(request.cookies.get(COOKIE, ""))
        return Visit(request, session, preferences, self._api, self._pages, self._clock(), form, chosen)

    def _outside(self, request: web.Request) -> web.StreamResponse:
        if LIVE_HEADER in request.headers:
            return web.Response(status=401, headers=PAGE_HEADERS)
        if request.method == "GET" and from_another_site(request.headers):
            # The cookie is held back on the way here from another site; from this page on it is sent.
            return self._pages.page("stopover.html", self._clock(), target=quote(request.path_qs, safe="/?&=%+:,~-._"))
        target = f"?{urlencode({'next': request.path_qs})}" if request.method == "GET" and request.path != "/" else ""
        return web.Response(status=303, headers={"Location": f"{SIGN_IN}{target}", "Cache-Control": "no-store"})

    async def _refused(self, request: web.Request, error: AdminError) -> web.StreamResponse:
        shown = {
            "sentence": error.detail,
            "heading": _HEADINGS.get(error.problem.status, "That did not work"),
            "request_id": request_id(request),
            "again": request.method == "POST" and error.problem.status == 503,
            "preferences": Preferences.parse(request.cookies.get(COOKIE, "")),
        }
        early = EarlyPage.of(request)
        if early is not None:
            return await early.end(self._pages.html("error.html", self._clock(), **shown))
        response = self._pages.page("error.html", self._clock(), status=error.problem.status, **shown)
        if error.problem.retry_after:
            response.headers["Retry-After"] = str(error.problem.retry_after)
        return response


_HEADINGS = {
    403: "Not allowed",
    404: "Nothing here",
    409: "Not possible as things are",
    413: "Too much at once",
    421: "Unknown host name",
    429: "Too many attempts",
    503: "Not available at the moment",
}
