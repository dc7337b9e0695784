"""Opens an aiohttp application on an address of the settings."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, cast

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http import RawRequestMessage
from aiohttp.web_protocol import ERROR

from sidecar.control.listeners import connection
from sidecar.control.listeners.accepting import Door, Places
from sidecar.control.listeners.connection import Connection
from sidecar.control.listeners.unrouted import LONGEST_FIELD, LONGEST_TARGET, with_known_expectations
from sidecar.listening import bind_each
from sidecar.settings.declaration import Tls
from sidecar.settings.values import Listen

UNIX_MODE = 0o660
GRACE = 1.0
"""Seconds that whoever had connected before the end has to ask; at a reload others wait meanwhile."""
CONNECTIONS = 1000
"""Of one listener, at most; a few hundred people and scrapers are many here."""
_LOOK_EVERY = 0.1
"""Seconds between two looks whether all who had connected have asked."""


async def serve(app: web.Application, listen: Listen, tls: Tls | None = None, fds: Sequence[int] = ()) -> web.AppRunner:
    """Serve `app` until the runner's `cleanup`, on the sockets `fds` if there are any. Raises OSError when the address cannot be had."""
    # The body bound of each route is the application's own; the log of requests is the audit log and the access log.
    runner = _Runner(
        app,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=2.0,
        keepalive_timeout=connection.KEEP_ALIVE,
        max_line_size=LONGEST_TARGET,
        max_field_size=LONGEST_FIELD,
    )
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
        if all(each.has_asked for runner in runners if runner.server for each in runner.server.connections if isinstance(each, Connection)):
            break
    for runner in runners:
        await runner.cleanup()


class _Server(web.Server):
    allow: str
    """The methods that it serves, whatever is asked for."""

    def take_up(self, accepted: float, on_lost: Callable[[], None]) -> Connection:
        made = Connection(self, loop=asyncio.get_running_loop(), **self._kwargs)
        made.allow = self.allow
        made.take_up(accepted, on_lost)
        return made


class _Runner(web.AppRunner):
    __slots__ = ("places",)

    places: Places

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()

        def request_of(message: RawRequestMessage, *rest: Any) -> web.BaseRequest:
            # What is no request has no version either, and aiohttp would answer as a server of HTTP/1.0.
            return made.request_factory(message._replace(version=HttpVersion11) if message is ERROR else message, *rest)

        # aiohttp has no other way to give an application's connections a class of one's own.
        server = _Server(with_known_expectations(made.request_handler), request_factory=request_of, **made._kwargs)
        server.allow = ", ".join(sorted({route.method for route in self.app.router.routes()} - {hdrs.METH_ANY}))
        return server

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
        door = Door(self._listening, server.take_up, self._places, self._ssl_context, connection.HEAD_WITHIN)
        # Of a server aiohttp asks for no more than its sockets and its end.
        self._server = cast("asyncio.AbstractServer", door)


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.certificate_file, tls.key_file)
    return context
