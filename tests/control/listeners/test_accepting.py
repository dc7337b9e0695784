"""Who is let in while others hold connections, and when nothing is left to hold one with."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import web

from sidecar.control.listeners import accepting, connection, serving
from sidecar.control.listeners.connection import Connection
from sidecar.control.listeners.serving import serve
from sidecar.settings.declaration import Tls
from sidecar.settings.values import Listen
from tests.control.listeners.test_serving import answer_of, ask, ended, raw, secured
from tests.support.certificates import LOCAL, self_signed
from tests.support.waiting import until


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
async def test_more_connections_than_fit_are_closed_at_once_and_take_nothing_from_another_listener(
    secure: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Those of TLS have not shaken hands, and never will."""
    monkeypatch.setattr(serving, "CONNECTIONS", 3)
    tls = None
    if secure:
        certificate, key = self_signed(tmp_path, *LOCAL)
        tls = Tls(certificate_file=str(certificate), key_file=str(key))
    admin, metrics = [await serve(web.Application(), Listen.parse("127.0.0.1:0"), each) for each in (tls, None)]
    held = [await raw(admin.addresses[0]) for _ in range(3)]
    for _ in range(2):
        reader, writer = await raw(admin.addresses[0])
        assert await ended(reader) == b""
        writer.close()
    assert not any(reader.at_eof() for reader, _ in held)
    assert caplog.text.count("has 3 connections, as many as fit") == 1
    head, _ = await ask(metrics.addresses[0], "GET / HTTP/1.1")
    assert head.startswith("HTTP/1.1 404 ")
    # Who goes makes room.
    for _, writer in held:
        writer.close()
    trusting = ssl.create_default_context(cafile=str(tmp_path / certificate.name)) if secure else None

    async def served() -> bool:
        with suppress(OSError, asyncio.IncompleteReadError):
            return (await ask(admin.addresses[0], "GET / HTTP/1.1", tls=trusting))[0].startswith("HTTP/1.1 404 ")
        return False

    await until(served)
    await admin.cleanup()
    await metrics.cleanup()


async def test_a_handshake_that_never_ends_is_let_go_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_WITHIN", 0.2)
    certificate, key = self_signed(tmp_path, *LOCAL)
    runner = await serve(web.Application(), Listen.parse("127.0.0.1:0"), Tls(certificate_file=str(certificate), key_file=str(key)))
    reader, writer = await raw(runner.addresses[0])
    assert await ended(reader) == b""
    writer.close()
    await runner.cleanup()


async def test_of_a_handshake_that_fails_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_WITHIN", 3600.0)
    certificate, key = self_signed(tmp_path, *LOCAL)
    runner = await serve(web.Application(), Listen.parse("127.0.0.1:0"), Tls(certificate_file=str(certificate), key_file=str(key)))
    tried: list[float] = []
    # Of other tests, whose exceptions may keep some.
    others = [each for each in gc.get_objects() if type(each) is Connection]
    take_up = Connection.take_up

    def noted(self: Connection, accepted: float, on_lost: Callable[[], None]) -> None:
        tried.append(accepted)
        take_up(self, accepted, on_lost)

    monkeypatch.setattr(Connection, "take_up", noted)
    reader, writer = await raw(runner.addresses[0], b"this is no handshake\r\n" * 10)
    await until(lambda: tried)
    await ended(reader)
    writer.close()

    def forgotten() -> bool:
        gc.collect()
        return not any(type(each) is Connection and each not in others for each in gc.get_objects())

    await until(forgotten)
    await runner.cleanup()


async def test_without_descriptors_it_accepts_again_in_a_moment(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(accepting, "PAUSE", 0.2)
    runner = await serve(web.Application(), Listen.parse("127.0.0.1:0"))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    client = socket.socket()
    client.setblocking(False)
    spare = os.open(os.devnull, os.O_RDONLY)
    try:
        # The next descriptor would be that of `spare`.
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 1, before[1]))
        await asyncio.get_running_loop().sock_connect(client, runner.addresses[0])
        await until(lambda: "no connection can be accepted for a moment" in caplog.text)
    finally:
        os.close(spare)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert b"HTTP/1.1 404 " in await answer_of(client)
    await runner.cleanup()


def idle(runner: web.AppRunner) -> set[tuple[str, int]]:
    """The addresses of clients whose next request is waited for."""
    assert runner.server is not None
    waiting = [each for each in runner.server.connections if isinstance(each, Connection) and each.idle_since is not None]
    return {each.transport.get_extra_info("peername") for each in waiting if each.transport is not None}


async def next_millisecond() -> None:
    """uvloop counts no less: of two that have been idle for as many, either may be the one that makes room."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    await until(lambda: loop.time() > now + 0.001)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
async def test_the_longest_idle_connection_makes_room(secure: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one that is being answered, or has begun to ask. Those of TLS never say goodbye."""
    monkeypatch.setattr(serving, "CONNECTIONS", 4)
    app, asked, answered = web.Application(), asyncio.Event(), asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        asked.set()
        await answered.wait()
        return web.Response()

    app.router.add_get("/wait", wait)
    tls, trusting = secured(tmp_path) if secure else (None, None)
    runner = await serve(app, Listen.parse("127.0.0.1:0"), tls)
    clients = []
    for rest in (b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET", b"", b""):
        reader, writer = await asyncio.open_connection(*runner.addresses[0], ssl=trusting)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"404: Not Found"), 10)
        writer.write(rest)
        clients.append((reader, writer))
        await next_millisecond()
    await asyncio.wait_for(asked.wait(), 10)
    busy, begun, longest, other = clients
    await until(lambda: idle(runner) == {writer.get_extra_info("sockname") for _, writer in (longest, other)})
    for gone in (longest, other):
        writers = await asyncio.open_connection(*runner.addresses[0], ssl=trusting)
        clients.append(writers)
        writers[1].write(b"GET")
        assert await ended(gone[0]) == b""
        assert not any(reader.at_eof() for reader, _ in clients[clients.index(gone) + 1 :])
    # Nobody is idle now.
    with suppress(OSError):
        reader, writer = await asyncio.open_connection(*runner.addresses[0], ssl=trusting)
        assert await ended(reader) == b""
        writer.close()
    begun[1].write(b" / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answered.set()
    assert (await asyncio.wait_for(busy[0].readline(), 10)).startswith(b"HTTP/1.1 200 ")
    assert (await asyncio.wait_for(begun[0].readline(), 10)).startswith(b"HTTP/1.1 404 ")
    for _, writer in clients:
        writer.close()
    await runner.cleanup()
