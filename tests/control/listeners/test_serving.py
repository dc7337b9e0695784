"""What is answered, and logged, before any application sees a request."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import web

from sidecar.control.listeners import connection, serving
from sidecar.control.listeners.serving import close, serve
from sidecar.settings.declaration import Tls
from sidecar.settings.values import Listen
from tests.support.certificates import LOCAL, outdated, self_signed

SECRET = "ahk_" + "x" * 49


@pytest.fixture
async def address() -> AsyncIterator[tuple[str, int]]:
    """Of an application that refuses everything under /refused, without a look at its body."""

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=401)

    app = web.Application()
    app.router.add_route("*", "/refused", refuse)
    runner = await serve(app, Listen.parse("127.0.0.1:0"))
    yield runner.addresses[0]
    await runner.cleanup()


def secured(folder: Path) -> tuple[Tls, ssl.SSLContext]:
    """What a listener of this machine serves TLS with, and who trusts it."""
    certificate, key = self_signed(folder, *LOCAL)
    return Tls(certificate_file=str(certificate), key_file=str(key)), ssl.create_default_context(cafile=str(certificate))


async def ask(address: tuple[str, int], head: str, body: bytes = b"", *, tls: ssl.SSLContext | None = None) -> tuple[str, str]:
    """Head and body of the last answer, of a connection that is closed after it."""
    reader, writer = await asyncio.open_connection(*address, ssl=tls)
    writer.write(f"{head}\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode() + body)
    answer = (await asyncio.wait_for(reader.read(), 10)).decode()
    writer.close()
    found, _, rest = answer.removeprefix("HTTP/1.1 100 Continue\r\n\r\n").partition("\r\n\r\n")
    return found, rest


async def test_a_body_that_is_not_what_it_says_is_no_failure_of_the_sidecar(
    address: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    head, _ = await ask(address, "POST /refused HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 4", b"nope")
    assert head.startswith("HTTP/1.1 401 ")
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG] == []


async def test_a_failure_of_the_sidecar_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: web.Request) -> web.Response:
        raise RuntimeError("nobody thought of this")

    app = web.Application()
    app.router.add_get("/", fail)
    runner = await serve(app, Listen.parse("127.0.0.1:0"))
    head, _ = await ask(runner.addresses[0], "GET / HTTP/1.1")
    await runner.cleanup()
    assert head.startswith("HTTP/1.1 500 ") and "nobody thought of this" in caplog.text


async def test_with_a_certificate_it_speaks_tls_of_today_and_nothing_else(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, *LOCAL)
    runner = await serve(web.Application(), Listen.parse("127.0.0.1:0"), Tls(certificate_file=str(certificate), key_file=str(key)))
    try:
        trusting = ssl.create_default_context(cafile=str(certificate))
        head, _ = await ask(runner.addresses[0], "GET / HTTP/1.1", tls=trusting)
        assert head.startswith("HTTP/1.1 404 ")
        # Whoever speaks in clear text is told nothing, and a connection of the time before TLS 1.2 does not come about.
        head, _ = await ask(runner.addresses[0], "GET / HTTP/1.1")
        assert "HTTP/1.1" not in head
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await ask(runner.addresses[0], "GET / HTTP/1.1", tls=outdated())
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("path", ["/refused", "/nowhere"])
async def test_an_expectation_that_nobody_knows_is_not_repeated(address: tuple[str, int], path: str) -> None:
    head, body = await ask(address, f"POST {path} HTTP/1.1\r\nExpect: {SECRET}\r\nContent-Length: 4", b"body")
    assert head.startswith("HTTP/1.1 417 ") and "application/json" in head and SECRET not in head + body
    assert json.loads(body)["error"] == {
        "message": "Only Expect: 100-continue is understood.",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_request",
    }


async def test_who_asks_before_sending_a_body_is_told_to_go_on(address: tuple[str, int]) -> None:
    head, _ = await ask(address, "POST /refused HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 4", b"body")
    assert head.startswith("HTTP/1.1 401 ")


async def answer_of(client: socket.socket, tls: ssl.SSLContext | None = None) -> bytes:
    """What is answered to a request over `client`, which is connected already."""
    reader, writer = await asyncio.open_connection(sock=client, ssl=tls, server_hostname="localhost" if tls is not None else None)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


def listening_on(path: Path | None) -> socket.socket:
    """A socket that is bound, as the supervisor holds one."""
    if path is None:
        return socket.create_server(("127.0.0.1", 0))
    held = socket.socket(socket.AF_UNIX)
    held.bind(str(path))
    held.listen()
    return held


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("local", [False, True], ids=["TCP", "unix"])
async def test_who_connects_after_the_end_is_served_by_the_next_one(local: bool, secure: bool, tmp_path: Path) -> None:
    tls, trusting = None, None
    if secure:
        certificate, key = self_signed(tmp_path, *LOCAL)
        tls = Tls(certificate_file=str(certificate), key_file=str(key))
        trusting = ssl.create_default_context(cafile=str(certificate))
    listen = Listen.parse("127.0.0.1:1")  # nobody binds it: there is a socket
    with listening_on(tmp_path / "s" if local else None) as held:
        fd = os.dup(held.fileno())
        os.set_inheritable(fd, True)
        runner = await serve(web.Application(), listen, tls, [fd])
        assert not os.get_inheritable(fd)
        assert b"HTTP/1.1 404 " in await answer_of(connected(held), trusting)
        await close([runner])
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
        waiting = connected(held)
        runner = await serve(web.Application(), listen, tls, [os.dup(held.fileno())])
        assert b"HTTP/1.1 404 " in await answer_of(waiting, trusting)
        await close([runner])
        assert not local or (tmp_path / "s").is_socket()


def connected(held: socket.socket) -> socket.socket:
    """A client that has connected to `held`."""
    client = socket.socket(held.family)
    client.settimeout(10)
    client.connect(held.getsockname())
    return client


async def test_at_the_end_who_had_connected_may_still_ask() -> None:
    runner = await serve(web.Application(), Listen.parse("127.0.0.1:0"))
    reader, writer = await asyncio.open_connection(*runner.addresses[0])
    while runner.server is None or not runner.server.connections:
        await asyncio.sleep(0)
    end = asyncio.create_task(close([runner]))
    while runner.addresses:
        await asyncio.sleep(0)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.1 404 ")
    writer.close()
    await end


async def test_at_the_end_who_asks_nothing_is_not_waited_for_any_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "GRACE", 0.2)
    runner = await serve(web.Application(), Listen.parse("127.0.0.1:0"))
    reader, writer = await asyncio.open_connection(*runner.addresses[0])
    await asyncio.wait_for(close([runner]), 10)
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


async def raw(address: tuple[str, int], data: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which `data` was sent."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(data)
    return reader, writer


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What came until the other side closed or cut the connection."""
    with suppress(ConnectionError):
        return await asyncio.wait_for(reader.read(), 10)
    return b""


GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize("sent", [b"", b"G", GET], ids=["nothing", "a byte", "no end"])
async def test_who_sends_no_whole_head_is_let_go_of(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_WITHIN", 0.2)
    runner = await serve(web.Application(), Listen.parse("127.0.0.1:0"))
    reader, writer = await raw(runner.addresses[0], sent)
    assert await ended(reader) == b""
    writer.close()
    await runner.cleanup()


async def test_the_next_head_has_as_long_from_its_first_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_WITHIN", 0.3)
    runner = await serve(web.Application(), Listen.parse("127.0.0.1:0"))
    reader, writer = await raw(runner.addresses[0], GET + b"\r\n")
    await asyncio.wait_for(reader.readuntil(b"404: Not Found"), 10)
    # Between two requests nobody is in a hurry.
    await asyncio.sleep(0.6)
    writer.write(GET + b"\r\n")
    assert (await asyncio.wait_for(reader.readuntil(b"404: Not Found"), 10)).startswith(b"HTTP/1.1 404 ")
    # A byte now and then is no head.
    writer.write(GET + b"X: ")
    for _ in range(100):
        if reader.at_eof() or reader.exception():
            break
        await asyncio.sleep(0.05)
        with suppress(ConnectionError):
            writer.write(b"x")
            await writer.drain()
    assert await ended(reader) == b""
    writer.close()
    await runner.cleanup()


async def test_an_answer_that_takes_its_time_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_WITHIN", 0.5)

    async def slow(request: web.Request) -> web.Response:
        body = await request.read()
        await asyncio.sleep(0.7)
        return web.Response(body=body)

    app = web.Application()
    app.router.add_post("/", slow)
    runner = await serve(app, Listen.parse("127.0.0.1:0"))
    reader, writer = await raw(runner.addresses[0], b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbo")
    await asyncio.sleep(0.7)
    writer.write(b"dy")
    assert (await asyncio.wait_for(reader.readuntil(b"body"), 10)).startswith(b"HTTP/1.1 200 ")
    writer.close()
    await runner.cleanup()


async def test_who_says_nothing_after_an_answer_is_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "KEEP_ALIVE", 0.2)
    runner = await serve(web.Application(), Listen.parse("127.0.0.1:0"))
    reader, writer = await raw(runner.addresses[0], GET + b"\r\n")
    assert (await ended(reader)).startswith(b"HTTP/1.1 404 ")
    writer.close()
    await runner.cleanup()


@pytest.mark.parametrize(("limit", "expected"), [(1024, 256), (1 << 20, 1000), (resource.RLIM_INFINITY, 1000)])
def test_a_listener_takes_at_most_a_quarter_of_what_may_be_open(limit: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert serving._most_connections() == expected
