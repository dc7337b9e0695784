"""A hub's name with several addresses: one that is silent keeps nobody from the others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.support.certificates import LOCAL, self_signed
from tests.worker.plane import Plane, RawHub, running, until

Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]


def address(host: str, port: int) -> Address:
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))


class Resolving:
    """The loop, but any name has `addresses`; `fault`, if any, is what each attempt of a socket ends with."""

    def __init__(self, plane: Plane, *addresses: Address, fault: Exception | None = None) -> None:
        self.addresses = list(addresses)
        self.fault = fault
        self.asked = 0
        self.tried: list[tuple[Any, ...]] = []
        self._loop = asyncio.get_running_loop()
        plane.plane.pool._loop = cast(asyncio.AbstractEventLoop, self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def getaddrinfo(self, *_: Any, **__: Any) -> list[Address]:
        self.asked += 1
        return self.addresses

    async def sock_connect(self, sock: socket.socket, endpoint: tuple[Any, ...]) -> None:
        self.tried.append(endpoint)
        if self.fault is not None:
            raise self.fault
        await self._loop.sock_connect(sock, endpoint)


@pytest.fixture
def silent() -> Iterator[Address]:
    """An address whose backlog is full: the kernel drops what tries to connect."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.2", 0))
        listener.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect(listener.getsockname())
        yield address(*listener.getsockname())


@pytest.fixture
def refusing() -> Iterator[Address]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.3", 0))
        yield address(*bound.getsockname())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def status(plane: Plane) -> bytes:
    return (await plane.exchange(plane.get(), timeout=30)).split(b" ", 2)[1]


NAMED = {"SIDECAR_HUB__URL": "http://hub.test/"}


async def test_a_silent_address_keeps_nobody_from_the_next(silent: Address) -> None:
    async with running(environment=NAMED) as plane:
        Resolving(plane, silent, address("127.0.0.1", plane.hub.port))
        before = descriptors()
        assert await status(plane) == b"200"
        plane.plane.pool.take(b"GET").abort()  # type: ignore[union-attr]
        await until(lambda: descriptors() <= before)


async def test_many_silent_addresses_leave_time_for_the_last(silent: Address) -> None:
    async with running(environment=NAMED | {"SIDECAR_PROXY__TIMEOUTS__HUB_CONNECT": "2s"}) as plane:
        host, port = silent[4]
        # Of other kinds to the resolver, the same to the kernel.
        others = [(*silent[:3], str(number), (host, port)) for number in range(7)]
        Resolving(plane, silent, *others, address("127.0.0.1", plane.hub.port))
        assert await status(plane) == b"200"


async def test_an_address_that_refuses_is_passed_over(refusing: Address) -> None:
    async with running(environment=NAMED) as plane:
        Resolving(plane, refusing, address("127.0.0.1", plane.hub.port))
        assert await status(plane) == b"200"


async def test_a_hub_of_which_every_address_refuses_is_unavailable(refusing: Address) -> None:
    async with running(environment=NAMED) as plane:
        resolving = Resolving(plane, refusing, address("127.0.0.4", refusing[4][1]))
        assert await status(plane) == b"502"
        assert len(resolving.tried) == 2
        assert (await plane.event())[0].reason == "hub_unavailable"
        assert plane.plane.pool.size == 0


async def test_a_hub_of_which_every_address_is_silent_is_too_slow(silent: Address) -> None:
    async with running(environment=NAMED | {"SIDECAR_PROXY__TIMEOUTS__HUB_CONNECT": "300ms"}) as plane:
        Resolving(plane, silent, (*silent[:3], "again", silent[4]))
        before = descriptors()
        assert await status(plane) == b"504"
        assert (await plane.event())[0].reason == "hub_timeout"
        await until(lambda: descriptors() <= before)


async def test_what_uvloop_calls_a_runtime_error_is_a_hub_that_is_not_there(refusing: Address) -> None:
    async with running(environment=NAMED) as plane:
        fault = RuntimeError("File descriptor 7 is used by transport")
        Resolving(plane, refusing, address("127.0.0.1", plane.hub.port), fault=fault)
        assert await status(plane) == b"502"


@pytest.mark.parametrize(("name", "expected"), [("localhost", b"200"), ("hub.test", b"502")])
async def test_the_certificate_must_be_the_names(silent: Address, tmp_path: Path, name: str, expected: bytes) -> None:
    certificate, key = self_signed(tmp_path, *LOCAL)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    hub = RawHub()
    server = await asyncio.start_server(hub.handle, "127.0.0.1", 0, ssl=context)
    try:
        async with running(environment={"SIDECAR_HUB__URL": f"https://{name}/", "SIDECAR_HUB__CA_FILE": str(certificate)}) as plane:
            Resolving(plane, silent, address("127.0.0.1", server.sockets[0].getsockname()[1]))
            assert await status(plane) == expected
    finally:
        server.close()
        await hub.close()


async def test_a_name_is_looked_up_for_each_connection() -> None:
    async with running() as plane:
        url = f"http://hub.test:{plane.hub.port}/"
        async with running(environment={"SIDECAR_HUB__URL": url}) as named:
            resolving = Resolving(named, address("127.0.0.4", plane.hub.port))
            assert await status(named) == b"502"
            resolving.addresses = [address("127.0.0.1", plane.hub.port)] * 2
            assert await status(named) == b"200"
            assert resolving.asked == 2
            assert not resolving.tried, "one address needs no race, nor does one that the resolver says twice"


async def test_an_address_is_not_looked_up() -> None:
    async with running() as plane:
        resolving = Resolving(plane)
        assert await status(plane) == b"200"
        assert resolving.asked == 0


async def test_an_address_keeps_its_zone() -> None:
    try:
        socket.socket(socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with running(environment=NAMED) as plane:
        zoned: Address = (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("fe80::1", 80, 0, 7))
        resolving = Resolving(plane, zoned, fault=OSError("no route"))
        assert await status(plane) == b"502"
        assert resolving.tried == [("fe80::1", 80, 0, 7)]
