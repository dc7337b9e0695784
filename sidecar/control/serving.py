"""Opens an aiohttp application on an address of the settings."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, cast

import msgspec
from aiohttp import web

from sidecar.control.accepting import Door, Places
from sidecar.listening import bind_each
from sidecar.refusals import EXPECTATION_FAILED, INVALID_REQUEST, Refusal
from sidecar.settings.declaration import Tls
from sidecar.settings.values import Listen

UNIX_MODE = 0o660
GRACE = 1.0
"""Seconds that whoever had connected before the end has to ask; at a reload others wait meanwhile."""
HEAD_WITHIN = 10.0
"""Seconds for the whole head of a request: from connecting, TLS and all, and of each further request from its first byte."""
KEEP_ALIVE = 75.0
"""Seconds after an answer until the next request."""
CONNECTIONS = 1000
"""Of one listener, at most; a few hundred people and scrapers are many here."""
_LOOK_EVERY = 0.1
_CONTINUE = "100-continue"

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)


async def serve(app: web.Application, listen: Listen, tls: Tls | None = None, fds: Sequence[int] = ()) -> web.AppRunner:
    """Serve `app` until the runner's `cleanup`, on the sockets `fds` if there are any. Raises OSError when the address cannot be had."""
    # The body bound of each route is the application's own; the log of requests is the audit log and the access log.
    runner = _Runner(app, access_log=None, handle_signals=False, shutdown_timeout=2.0, keepalive_timeout=KEEP_ALIVE)
    runner.places = Places(_most_connections(), str(listen))
    await runner.setup()
    context = _context(tls) if tls is not None else None
    for listening in [socket.socket(fileno=fd) for fd in fds] or _bound(listen):
        listening.set_inheritable(False)
        await _Site(runner, listening, context).start()
    return runner


def _bound(listen: Listen) -> list[socket.socket]:
    if not listen.path:
        return bind_each(listen)
    with suppress(FileNotFoundError):
        os.unlink(listen.path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(listen.path)
        os.chmod(listen.path, UNIX_MODE)
    except OSError:
        bound.close()
        raise
    return [bound]


def _most_connections() -> int:
    """Of a listener. Two of them, with all that the spools and the store need beside, must fit into what this process may open."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS if limit == resource.RLIM_INFINITY else max(1, min(CONNECTIONS, limit // 4))


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
    """Closes who sends no whole head in time, and says nothing of bytes that are no request.

    To those it answers a fixed text: aiohttp's own answer and log repeat them, and they may hold a secret.
    """

    __slots__ = ("_head_timer", "_on_lost", "has_asked")

    def take_up(self, accepted: float, on_lost: Callable[[], None]) -> None:
        """Begin with a connection that was accepted at `accepted`, by the loop's clock."""
        self.has_asked = False
        self._on_lost = on_lost
        self._head_timer: asyncio.TimerHandle | None = self._loop.call_at(accepted + HEAD_WITHIN, self._give_up)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._disarm()
        self._on_lost()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.has_asked = True
        heads = self._request_count
        super().data_received(data)
        if self._request_count != heads:
            self._disarm()
        elif self._head_timer is None and self._waiter is not None and not self._waiter.done():
            # Nobody is being answered, so this begins a head.
            self._head_timer = self._loop.call_later(HEAD_WITHIN, self._give_up)

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        transport = self.transport
        self.force_close()
        if transport is not None:
            # Over TLS, `close` waits for the other side to say goodbye.
            transport.abort()

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
    def take_up(self, accepted: float, on_lost: Callable[[], None]) -> _Protocol:
        protocol = _Protocol(self, loop=asyncio.get_running_loop(), **self._kwargs)
        protocol.take_up(accepted, on_lost)
        return protocol


class _Runner(web.AppRunner):
    __slots__ = ("places",)

    places: Places

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        # aiohttp has no other way to give an application's connections a class of one's own.
        return _Server(_with_known_expectations(made.request_handler), request_factory=made.request_factory, **made._kwargs)

    async def cleanup(self) -> None:
        await super().cleanup()
        for task in list(self.places.connecting):
            task.cancel()


class _Site(web.BaseSite):
    """A socket that is bound. aiohttp's own sites bound neither connections nor handshakes."""

    __slots__ = ("_listening", "_places")

    def __init__(self, runner: _Runner, listening: socket.socket, tls: ssl.SSLContext | None) -> None:
        super().__init__(runner, ssl_context=tls)
        self._places = runner.places
        self._listening = listening

    @property
    def name(self) -> str:
        return str(self._listening.getsockname())

    async def start(self) -> None:
        await super().start()
        server = self._runner.server
        assert isinstance(server, _Server)
        door = Door(self._listening, server.take_up, self._places, self._ssl_context, HEAD_WITHIN)
        # Of a server aiohttp asks for no more than its sockets and its end.
        self._server = cast("asyncio.AbstractServer", door)


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
