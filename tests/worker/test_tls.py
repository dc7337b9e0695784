"""TLS on either side of slow ends: nothing is lost when one closes while it is held back, and nobody keeps a connection by silence."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from pathlib import Path

import pytest

from sidecar.worker.tls import hold_back_at_once
from tests.support.certificates import LOCAL, self_signed
from tests.worker.plane import running, until
from tests.worker.secure_client import SecureClient, serving_tls
from tests.worker.upstream.test_connection_faults import SWITCH
from tests.worker.upstream.test_tunnel import HANDSHAKE

SIZES = range(3_000_000, 4_600_000, 100_000)
"""Of answers. Which ones end while some of it waits where it was dropped depends on the buffers of the machine."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"), *LOCAL)


class SlowClient:
    """Reads nothing until it is told to, then everything."""

    def __init__(self, port: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.setblocking(False)
        self._port = port

    async def ask(self, request: bytes) -> None:
        await self._loop.sock_connect(self.socket, ("127.0.0.1", self._port))
        await self._loop.sock_sendall(self.socket, request)

    async def read(self, most: int) -> int:
        return len(await self._loop.sock_recv(self.socket, most))

    async def read_all(self) -> int:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        got = 0
        async with asyncio.timeout(20):
            while data := await self._loop.sock_recv(self.socket, 1 << 20):
                got += len(data)
        self.socket.close()
        return got


class ClosingHub:
    """Says all that it has to say, and closes at once, as most servers do: it does not wait for the other side's farewell."""

    def __init__(self, certificate: tuple[Path, Path]) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}/"
        self.head = b""
        self.size = 0
        self.closed = threading.Event()

    def serve(self, connections: int) -> None:
        """Serve so many, one after the other."""
        with self._listener:
            for _ in range(connections):
                self._listener.settimeout(20)
                connection, _ = self._listener.accept()
                connection.settimeout(20)
                with self._context.wrap_socket(connection, server_side=True) as side:
                    side.recv(65_536)
                    side.sendall(self.head + bytes(self.size))
                    side.setblocking(False)
                    with contextlib.suppress(ssl.SSLWantReadError):
                        side.unwrap()
                    side.shutdown(socket.SHUT_WR)
                    self.closed.set()


@pytest.mark.parametrize("upgrades", [False, True], ids=["answer", "WebSocket"])
async def test_what_a_hub_sent_before_it_closed_reaches_a_slow_client(certificate: tuple[Path, Path], upgrades: bool) -> None:
    hub = ClosingHub(certificate)
    hub.head = SWITCH if upgrades else b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    serving = asyncio.create_task(asyncio.to_thread(hub.serve, len(SIZES)))
    async with running(environment={"SIDECAR_HUB__URL": hub.url, "SIDECAR_HUB__CA_FILE": str(certificate[0])}) as plane:
        for hub.size in SIZES:
            hub.closed.clear()
            client = SlowClient(plane.port)
            await client.ask(plane.get(fields=HANDSHAKE if upgrades else "", close=not upgrades))
            # It closes when all is on the way, which may need some reading.
            got = 0
            while not hub.closed.is_set():
                await asyncio.sleep(0.05)
                got += await client.read(65_536)
            await asyncio.sleep(0.05)
            assert got + await client.read_all() > hub.size
        await until(lambda: len(plane.events.requests) == len(SIZES))
        assert {(event.outcome, event.ending, event.bytes_out >= SIZES[0]) for event in plane.events.requests} == {("ok", "complete", True)}
    await serving


async def test_a_client_that_never_says_goodbye_is_given_up(certificate: tuple[Path, Path]) -> None:
    async with running(environment=serving_tls(certificate) | {"SIDECAR_PROXY__TIMEOUTS__WRITE_IDLE": "500ms"}) as plane:
        client = await SecureClient.connected(plane, certificate)
        await client.do("do_handshake")
        await client.do("write", plane.get())
        assert (await client.do("read", 65_536)).startswith(b"HTTP/1.1 200 OK")
        # The farewell of the other side is read, and not answered.
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(client.reader.read(-1), 20)
        await until(lambda: not plane.plane.front.connections)


class Wire(asyncio.Transport):
    def __init__(self, context: ssl.SSLContext | None) -> None:
        super().__init__({"sslcontext": context})
        self.limits: list[int] = []

    def set_read_buffer_limits(self, high: int) -> None:
        self.limits.append(high)


def test_only_tls_reads_on_by_itself() -> None:
    plain, tls = Wire(None), Wire(ssl.create_default_context())
    hold_back_at_once(plain)
    hold_back_at_once(tls)
    assert (plain.limits, tls.limits) == ([], [1])
