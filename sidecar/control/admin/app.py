"""Puts the admin API together: `bind` gives every endpoint its handler, or raises RuntimeError.

The control process serves the application on `admin.listen`; the console adds its pages to it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import web

from sidecar.control.admin.authentication import Actor, Authenticator
from sidecar.control.admin.dispatch import Dispatcher, as_json
from sidecar.control.admin.endpoint import Route
from sidecar.control.admin.endpoints import ENDPOINTS
from sidecar.control.admin.paths import pattern
from sidecar.control.admin.recorder import Recorder
from sidecar.control.admin.repeats import Repeats
from sidecar.control.admin.resources.admin_tokens import AdminTokenCalls
from sidecar.control.admin.resources.anomalies import Anomalies
from sidecar.control.admin.resources.audit_events import AuditEvents
from sidecar.control.admin.resources.imports import Imports
from sidecar.control.admin.resources.keys import Keys
from sidecar.control.admin.resources.secrets import Secrets
from sidecar.control.admin.resources.status import Status
from sidecar.control.admin.resources.usage import Usage
from sidecar.control.admin.services import AdminServices
from sidecar.control.audit import AuditLog
from sidecar.keys.admin_tokens import AdminTokens
from sidecar.settings.declaration import Admin
from sidecar.throttle import Throttle

LOOKUPS_AT_ONCE, LOOKUP_INTERVAL = 20, 0.05
"""Look-ups for an address that fails too often, and the seconds after which there may be one more: little for a store, and whoever
wants to keep others behind the same proxy out has to send more than that, without end."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AdminApi:
    """Every call of the API, bound: `application` serves them over HTTP, the console calls them in process."""

    dispatcher: Dispatcher
    authenticator: Authenticator
    routes: dict[str, Route]
    """By operation id."""


def bind(services: AdminServices) -> AdminApi:
    """Every endpoint with its handler. Raises RuntimeError when one has none, or two."""
    recorder = Recorder(services.audit, services.clock)
    authenticator = Authenticator(
        Holders(services.admin_tokens),
        Throttle(),
        Throttle(burst=LOOKUPS_AT_ONCE, interval=LOOKUP_INTERVAL),
        services.settings.keys.prefix,
        recorder.failed_authentication,
        services.sessions,
    )
    dispatcher = Dispatcher(authenticator, allowed_hosts(services.settings.admin), recorder.forbidden)
    return AdminApi(dispatcher, authenticator, {route.endpoint.name: route for route in _checked(_routes(services, recorder))})


def application(api: AdminApi, audit: AuditLog) -> web.Application:
    """The application; its start and end also start and end the settling of the audit log."""
    app = web.Application(middlewares=[as_json])
    for route in api.routes.values():
        path, handler = pattern(route.endpoint.path), api.dispatcher.handler(route)
        for method in ("GET", "HEAD") if route.endpoint.method == "GET" else (route.endpoint.method,):
            app.router.add_route(method, path, handler)
    app.cleanup_ctx.append(_settling(audit, api.dispatcher))
    return app


def allowed_hosts(admin: Admin) -> frozenset[str] | None:
    """The host names that are answered; None for a unix socket, which no web page can reach."""
    if admin.listen.path:
        return None
    return frozenset(name.lower().strip("[]") for name in ("localhost", admin.listen.host, *admin.allowed_hosts))


class Holders:
    """Tells the actor of an admin token."""

    def __init__(self, tokens: AdminTokens) -> None:
        self._tokens = tokens

    async def actor(self, token: str) -> Actor | None:
        """The actor, or None when the token is unknown or revoked."""
        found = await self._tokens.verify(token.encode())
        return None if found is None else Actor("admin_token", found.id, found.name, found.role)


def _routes(services: AdminServices, recorder: Recorder) -> list[Route]:
    keys = services.keys
    return [
        *Keys(keys, Repeats(services.idempotency), recorder, services.settings.keys).routes(),
        *Imports(keys, recorder, accepted=services.settings.keys.accept_imported).routes(),
        *Secrets(keys, recorder).routes(),
        *Usage(services.usage, services.calls, keys, services.settings.usage.hours, services.clock).routes(),
        *Anomalies(services.anomalies, recorder).routes(),
        *AuditEvents(services.audit).routes(),
        *AdminTokenCalls(services.admin_tokens, recorder).routes(),
        *Status(services.status, services.audit, recorder).routes(),
    ]


def _checked(routes: list[Route]) -> list[Route]:
    bound = {route.endpoint.name for route in routes}
    missing = [endpoint.name for endpoint in ENDPOINTS if endpoint.name not in bound]
    if missing or len(bound) != len(routes):
        raise RuntimeError(f"endpoints without a handler, or with two: {missing}")
    return routes


def _settling(audit: AuditLog, dispatcher: Dispatcher) -> Callable[[web.Application], AsyncIterator[None]]:
    async def settling(_: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(audit.run(), name="audit log")
        task.add_done_callback(_tell_why)
        yield
        await dispatcher.finish()
        task.cancel()
        # Not awaited itself: whatever it has ended with, the last records are still brought in.
        await asyncio.wait([task])
        # What cannot be read now is brought in at the next start.
        with suppress(OSError):
            await audit.settle()

    return settling


def _tell_why(settling: asyncio.Task[None]) -> None:
    error = None if settling.cancelled() else settling.exception()
    if error is not None:
        # Nobody waits for the task before the sidecar ends, and until then the journal would fill without a word.
        _log.error("the audit journal is no longer brought into the log; restart the sidecar", exc_info=error)
