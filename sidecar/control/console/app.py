"""Puts the console together: its pages beside the admin API, on one listener."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from aiohttp import web

from sidecar.control.admin.app import AdminApi, application, bind
from sidecar.control.admin.paths import pattern
from sidecar.control.admin.services import AdminServices
from sidecar.control.console.assets import PREFIX, Assets
from sidecar.control.console.door import SIGN_IN, Door
from sidecar.control.console.guard import HOME
from sidecar.control.console.rendering import Pages
from sidecar.control.console.screens.admin_tokens import AdminTokens
from sidecar.control.console.screens.alerts import Alerts
from sidecar.control.console.screens.analytics import Analytics
from sidecar.control.console.screens.audit_log import AuditLog
from sidecar.control.console.screens.calls import CallLog
from sidecar.control.console.screens.key import KeyPage
from sidecar.control.console.screens.key_acts import KeyActs
from sidecar.control.console.screens.keys import KeyTable
from sidecar.control.console.screens.new_key import NewKey
from sidecar.control.console.screens.preferences import Choices
from sidecar.control.console.screens.sign_in import SignIn
from sidecar.control.console.screens.system import System
from sidecar.control.console.sessions import Sessions
from sidecar.control.console.snippets import FirstCalls
from sidecar.control.console.visit import Screen, Visit, see
from sidecar.control.usage.overview import Overview
from sidecar.keys.digest import Pepper
from sidecar.store.client import Store


def build(services: AdminServices, store: Store, pepper: Pepper, overview: Overview) -> web.Application:
    """The application: the admin API under /admin/v1, the console everywhere else. Sessions of the console also open the API."""
    sessions = Sessions(store, pepper, services.admin_tokens, services.settings.admin, services.clock)
    services = replace(services, sessions=sessions)
    api = bind(services)
    app = application(api, services.audit)
    _mount(app, api, services, sessions, overview)
    return app


def _mount(app: web.Application, api: AdminApi, services: AdminServices, sessions: Sessions, overview: Overview) -> None:
    assets = Assets()
    pages = Pages(assets)
    door = Door(api, sessions, pages, services.clock)
    entrance = SignIn(api.authenticator, sessions, services.audit, pages, services.clock)
    app.router.add_get(SIGN_IN, door.guarded(entrance.show))
    app.router.add_post(SIGN_IN, door.guarded(entrance.sign_in))
    app.router.add_get(f"{PREFIX}/{{name}}", assets.serve)
    for screen in (*entrance.screens(), *_screens(services, overview)):
        add = app.router.add_get if screen.method == "GET" else app.router.add_post
        add(pattern(screen.path), door.handler(screen))
    app.router.add_get("/{path:(?!admin/|static/).*}", door.guarded(door.missing))


def _screens(services: AdminServices, overview: Overview) -> list[Screen]:
    # Made once: it reads the profile, which takes longer than all the rest.
    first_calls = FirstCalls(services.settings)
    return [
        Screen("GET", "/", _to(HOME)),
        Screen("GET", "/settings", _to(HOME)),
        # Pages that only a form leads to. What is asked for under their address, by a reload or by `live.js`, is the list they are about.
        Screen("GET", f"{HOME}/revoke", _to(HOME)),
        Screen("GET", "/alerts/{anomaly_id}/acknowledge", _to("/alerts")),
        Screen("GET", "/alerts/{anomaly_id}/mute", _to("/alerts")),
        *KeyTable(services, overview, first_calls).screens(),
        *NewKey(first_calls).screens(),
        *KeyActs(overview, first_calls).screens(),
        *KeyPage(services, overview).screens(),
        *Analytics(services, overview).screens(),
        *CallLog(services).screens(),
        *Alerts().screens(),
        *AuditLog().screens(),
        *System(services).screens(),
        *AdminTokens(services.idempotency).screens(),
        *Choices().screens(),
    ]


def _to(path: str) -> Callable[[Visit], Awaitable[web.StreamResponse]]:
    async def go(_: Visit) -> web.StreamResponse:
        return see(path)

    return go
