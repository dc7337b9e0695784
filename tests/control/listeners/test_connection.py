"""Clients that do not read, read slowly, or hang on to connections that they do not use."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import web

from sidecar.control.listeners import connection, serving
from sidecar.control.listeners.serving import serve
from sidecar.settings.values import Listen
from tests.control.listeners.test_serving import ask, secured
from tests.support.waiting import until

GET = b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n"
SECURE = pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])


class Served:
    """A listener that answers with as many bytes as its path says, and what a client of it needs."""

    def __init__(self, runner: web.AppRunner, trusting: ssl.SSLContext | None) -> None:
        self.runner = runner
        self.trusting = trusting
        self.address: tuple[str, int] = runner.addresses[0]

    async def connect(self, data: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client that has sent `data` and holds next to nothing that it has not read."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, self.address)
        name = "localhost" if self.trusting is not None else None
        reader, writer = await asyncio.open_connection(sock=client, ssl=self.trusting, server_hostname=name, limit=1024)
        writer.write(data)
        return reader, writer

    async def serves(self) -> bool:
        """Whether somebody else is answered."""
        with suppress(OSError, asyncio.IncompleteReadError):
            return (await ask(self.address, "GET /1 HTTP/1.1", tls=self.trusting))[0].startswith("HTTP/1.1 200 ")
        return False


@contextlib.asynccontextmanager
async def listening(secure: bool, folder: Path) -> AsyncIterator[Served]:
    """One whose kernel takes little of what is written."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=bytes(int(request.match_info["size"])))

    app = web.Application()
    app.router.add_get("/{size}", answer)
    tls, trusting = secured(folder) if secure else (None, None)
    held = socket.create_server(("127.0.0.1", 0))
    held.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    runner = await serve(app, Listen.parse("127.0.0.1:1"), tls, [held.detach()])
    try:
        yield Served(runner, trusting)
    finally:
        await runner.cleanup()


@SECURE
@pytest.mark.parametrize(
    "sent", [GET % 2_000_000 * 3, (GET % 60_000).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")], ids=["full", "last"]
)
async def test_who_takes_no_answer_is_let_go_of(
    sent: bytes, secure: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the last answer so little waits that the transport never calls itself full."""
    monkeypatch.setattr(serving, "CONNECTIONS", 2)
    monkeypatch.setattr(connection, "WRITE_WITHIN", 0.4)
    async with listening(secure, tmp_path) as served:
        clients = [await served.connect(sent) for _ in range(2)]
        # Sooner than the loop's own TLS would end.
        await until(served.serves, within=20)
        for _, writer in clients:
            writer.transport.abort()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@SECURE
@pytest.mark.parametrize("ending", [b"", b"Connection: close\r\n"], ids=["kept", "last"])
async def test_who_takes_an_answer_slowly_gets_all_of_it(
    ending: bytes, secure: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its time the transport has never room again, which it would say."""
    monkeypatch.setattr(connection, "WRITE_WITHIN", 0.8)
    size = 3_000_000
    async with listening(secure, tmp_path) as served:
        loop = asyncio.get_running_loop()
        reader, writer = await served.connect((GET % size).replace(b"\r\n\r\n", b"\r\n" + ending + b"\r\n"))
        await reader.readuntil(b"\r\n\r\n")
        began, read = loop.time(), 0
        while read < size:
            piece = await asyncio.wait_for(reader.read(20_000), 20)
            assert piece, f"cut after {read} bytes"
            read += len(piece)
            await asyncio.sleep(began + 3 * connection.WRITE_WITHIN * read / size - loop.time())
        writer.transport.abort()
