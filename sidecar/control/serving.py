"""Opens an aiohttp application on an address of the settings."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from aiohttp import web

from sidecar.refusals import EXPECTATION_FAILED, INVALID_REQUEST, Refusal
from sidecar.settings.declaration import Tls
from sidecar.settings.values import Listen

UNIX_MODE = 0o660
GRACE = 1.0
"""Seconds that whoever had connected before the end has to ask; at a reload others wait meanwhile."""
_LOOK_EVERY = 0.1
_CONTINUE = "100-continue"

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)


async def serve(app: web.Application, listen: Listen, tls: Tls | None = None, fds: Sequence[int] = ()) -> web.AppRunner:
    """Serve `app` until the runner's `cleanup`, on the sockets `fds` if there are any. Raises OSError when the address cannot be had."""
    # The body bound of each route is the application's own; the log of requests is the audit log and the access log.
    runner = _Runner(app, access_log=None, handle_signals=False, shutdown_timeout=2.0)
    await runner.setup()
    context = _context(tls) if tls is not None else None
    site: web.BaseSite
    for fd in fds:
        os.set_inheritable(fd, False)
        await web.SockSite(runner, socket.socket(fileno=fd), ssl_context=context).start()
    if fds:
        return runner
    if listen.path:
        with suppress(FileNotFoundError):
            os.unlink(listen.path)
        site = web.UnixSite(runner, listen.path, ssl_context=context)
    else:
        site = web.TCPSite(runner, listen.host, listen.port, ssl_context=context, reuse_port=True)
    await site.start()
    if listen.path:
        os.chmod(listen.path, UNIX_MODE)
    return runner


async def close(runners: Sequence[web.AppRunner]) -> None:
    """Accept no more, and end when those who had connected have been answered. Who connects now waits for whoever else has the socket."""
    for runner in runners:
        for site in runner.sites:
            await site.stop()
    # A client that is hung up on before its first request is read would take us for dead.
    for _ in range(round(GRACE / _LOOK_EVERY)):
        await asyncio.sleep(_LOOK_EVERY)
        if all(each.has_asked for runner in runners if runner.server for each in runner.server.connections if isinstance(each, _Protocol)):
            break
    for runner in runners:
        await runner.cleanup()


class _Protocol(web.RequestHandler):
    """Answers bytes that are no request with a fixed text: aiohttp's own answer and log repeat them, and they may hold a secret."""

    __slots__ = ("has_asked",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.has_asked = False
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self.has_asked = True
        super().data_received(data)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        log.debug("%s sent what is no request: %s", request.remote, type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        return _refused(INVALID_REQUEST, status)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Tell of what failed here; a body that is not in its Content-Encoding, read to its end after the answer, is its sender's."""
        if isinstance(kw.get("exc_info"), web.RequestPayloadError):
            log.debug("a body was not in the Content-Encoding that it came with")
            return
        super().log_exception(*args, **kw)


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=asyncio.get_running_loop(), **self._kwargs)


class _Runner(web.AppRunner):
    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        # aiohttp has no other way to give an application's connections a class of one's own.
        return _Server(_with_known_expectations(made.request_handler), request_factory=made.request_factory, **made._kwargs)


def _with_known_expectations(handler: _Handler) -> _Handler:
    """The same, but for an Expect that HTTP does not know: aiohttp's own answer to it, made before any other check, repeats it."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Expect", _CONTINUE).lower() != _CONTINUE:
            return _refused(EXPECTATION_FAILED, EXPECTATION_FAILED.status)
        return await handler(request)

    return handle


def _refused(refusal: Refusal, status: int) -> web.Response:
    error = {"message": refusal.message, "type": refusal.type, "param": None, "code": refusal.code}
    response = web.Response(status=status, body=msgspec.json.encode({"error": error}), content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    response.force_close()
    return response


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.certificate_file, tls.key_file)
    return context
