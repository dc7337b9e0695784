"""What is served on `metrics.listen`: /metrics, /livez, /readyz and nothing else."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from sidecar.control.accepted import weights_of
from sidecar.control.metrics.scrape import Scrape
from sidecar.control.metrics.text import OPENMETRICS, TEXT, wants_openmetrics

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
Readiness = Callable[[], str]
"""Why the sidecar is not ready; empty when it is."""


class Endpoints:
    """The handlers. `sync` brings what is exported of keys up to date."""

    def __init__(self, scrape: Scrape, readiness: Readiness, sync: Callable[[], Awaitable[None]]) -> None:
        self._scrape = scrape
        self._readiness = readiness
        self._sync = sync

    def application(self) -> web.Application:
        """What serves `metrics.listen`."""
        app = web.Application(middlewares=[_plain_errors])
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        return app

    async def _metrics(self, request: web.Request) -> web.Response:
        await self._sync()
        openmetrics = wants_openmetrics(request.headers.get("Accept", ""))
        body = self._scrape.render(time.time(), openmetrics=openmetrics)
        response = web.Response(body=body, headers={**_HEADERS, "Content-Type": OPENMETRICS if openmetrics else TEXT})
        if weights_of(request.headers.get("Accept-Encoding", "")).get("gzip"):
            response.enable_compression(web.ContentCoding.gzip)
        return response

    async def _livez(self, _request: web.Request) -> web.Response:
        return _text(200, "ok")

    async def _readyz(self, _request: web.Request) -> web.Response:
        reason = self._readiness()
        return _text(503, reason) if reason else _text(200, "ok")


def _text(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text + "\n", headers=_HEADERS)


@web.middleware
async def _plain_errors(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        response = _text(error.status, "not found" if error.status == 404 else error.reason)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
