"""A hub over TLS: without its farewell (close_notify) the end of the connection is not the end of the answer (RFC 9112 9.8)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.certificates import LOCAL, self_signed
from tests.worker.plane import HubSide, Plane, RawHub, running, until
from tests.worker.secure_client import SecureClient


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"), *LOCAL)


@contextlib.asynccontextmanager
async def behind_tls(certificate: tuple[Path, Path]) -> AsyncIterator[tuple[Plane, RawHub]]:
    """A data plane whose hub speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    hub = RawHub()
    server = await asyncio.start_server(hub.handle, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        async with running(environment={"SIDECAR_HUB__URL": url, "SIDECAR_HUB__CA_FILE": str(certificate[0])}) as plane:
            yield plane, hub
    finally:
        server.close()
        await hub.close()


def end_without_farewell(side: HubSide) -> None:
    """Send the FIN of TCP alone, as whoever stands between can."""
    with socket.socket(fileno=os.dup(side.writer.get_extra_info("socket").fileno())) as endpoint:
        endpoint.shutdown(socket.SHUT_WR)


UNTIL_THE_END = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhalf of it"


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
async def test_an_answer_that_was_cut_off_does_not_look_whole(certificate: tuple[Path, Path], version: bytes) -> None:
    async def cut(side: HubSide) -> None:
        await side.send(UNTIL_THE_END)
        end_without_farewell(side)
        await side.reader.read(1)

    async with behind_tls(certificate) as (plane, hub):
        hub.answer = cut
        reader, writer = await plane.open()
        writer.write(plane.get().replace(b"HTTP/1.1", version, 1))
        await reader.readuntil(b"half of it")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(-1), 20)
        (event,) = await plane.event()
        assert (event.outcome, event.ending) == ("hub_error", "hub_aborted")
        assert plane.plane.counters()["sidecar_upstream_truncated_total"] == 1


async def test_an_answer_that_ends_with_a_farewell_is_whole(certificate: tuple[Path, Path]) -> None:
    async def end(side: HubSide) -> None:
        await side.send(UNTIL_THE_END)
        side.writer.close()

    async with behind_tls(certificate) as (plane, hub):
        hub.answer = end
        assert (await plane.exchange(plane.get(), timeout=20)).endswith(b"\r\na\r\nhalf of it\r\n0\r\n\r\n")
        (event,) = await plane.event()
        assert (event.outcome, event.ending) == ("ok", "complete")


async def test_an_answer_with_a_length_needs_no_farewell(certificate: tuple[Path, Path]) -> None:
    async def cut(side: HubSide) -> None:
        await side.send(RawHub.OK)
        end_without_farewell(side)
        await side.reader.read(1)

    async with behind_tls(certificate) as (plane, hub):
        hub.answer = cut
        assert (await plane.exchange(plane.get(), timeout=20)).endswith(b'\r\n\r\n{"ok":true}')


async def test_a_hub_that_never_says_goodbye_keeps_no_place(certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    told: list[object] = []
    left = asyncio.Event()

    async def say_nothing_more(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        side = SecureClient(reader, writer, certificate)
        side.tls = context.wrap_bio(side.incoming, side.outgoing, server_side=True)
        await side.do("do_handshake")
        await side.do("read", 65_536)
        await side.do("write", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
        told.append(await side.do("read", 65_536))
        await left.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing_more, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    environment = {"SIDECAR_HUB__URL": url, "SIDECAR_HUB__CA_FILE": str(certificate[0]), "SIDECAR_HUB__MAX_CONNECTIONS": "1"}
    async with running(environment=environment) as plane:
        for number in range(1, 4):
            assert (await plane.exchange(plane.get(), timeout=20)).startswith(b"HTTP/1.1 200 ")
            # It hears a farewell, and then no more.
            await until(lambda number=number: told == [b""] * number, what="a farewell")
            await until(lambda: plane.plane.pool.size == 0, within=15, what="a free place")
        left.set()
    server.close()
