"""TLS clients are counted, timed and given up from their first moment, whether they ever end a handshake or not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from pathlib import Path
from typing import Any, cast

import pytest

from sidecar.worker import queued
from sidecar.worker.client import front as front_module
from sidecar.worker.client.admission import UNTOLD
from sidecar.worker.client.secure import SecureConnection
from tests.support.certificates import LOCAL, self_signed
from tests.worker.plane import HubSide, Plane, running, until
from tests.worker.secure_client import SecureClient, serving_tls

LONG = 1e9
"""Seconds that no test takes."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"), *LOCAL)


def bounded(certificate: tuple[Path, Path], connections: int) -> dict[str, str]:
    return serving_tls(certificate) | {"SIDECAR_PROXY__BOUNDS__CONNECTIONS": str(connections)}


def only_connection(plane: Plane) -> SecureConnection:
    (connection,) = plane.plane.front.connections
    return cast(SecureConnection, connection)


async def asked(plane: Plane, certificate: tuple[Path, Path]) -> SecureClient:
    """A client that has asked once, without a key, and is idle."""
    client = await SecureClient.connected(plane, certificate)
    await client.do("do_handshake")
    await client.do("write", b"GET /v1/x HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await client.do("read", 65_536)).startswith(b"HTTP/1.1 401 ")
    return client


async def silent(side: HubSide) -> None:
    await side.reader.read(1)


async def test_a_connection_counts_before_it_has_said_anything(certificate: tuple[Path, Path]) -> None:
    async with running(environment=serving_tls(certificate)) as plane:
        clients = [await plane.open() for _ in range(5)]
        await until(lambda: plane.plane.front.accepted == 5)
        assert len(plane.plane.front.connections) == 5
        assert plane.plane.front.header_deadline.waiting == 5
        for _, writer in clients:
            writer.close()
        await until(lambda: not plane.plane.front.connections)
        assert plane.plane.front.header_deadline.waiting == 0


class Handshakes(ssl.SSLContext):
    """Counts them."""

    begun = 0

    def wrap_bio(self, *given: Any, **named: Any) -> ssl.SSLObject:
        self.begun += 1
        return super().wrap_bio(*given, **named)


async def test_a_silent_crowd_stays_within_the_bound_and_makes_room(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front_module, "UNFINISHED_SECONDS", LONG)
    bound, crowd, most = 20, 300, 0
    async with running(environment=bounded(certificate, bound)) as plane:
        front, handshakes = plane.plane.front, Handshakes(ssl.PROTOCOL_TLS_SERVER)
        handshakes.load_cert_chain(*certificate)
        plane.plane._tls = handshakes
        for number in range(crowd):
            await plane.open()
            await until(lambda count=number: front.accepted == count + 1)  # type: ignore[misc]
            most = max(most, len(front.connections))
        assert bound <= most <= bound + UNTOLD + 1
        assert handshakes.begun == bound + UNTOLD, "whoever is closed at once costs no handshake"
        # As if a second had passed for those who came first.
        monkeypatch.setattr(front_module, "UNFINISHED_SECONDS", 0.0)
        client = await SecureClient.connected(plane, certificate)
        assert (await client.exchange(plane.get())).startswith(b"HTTP/1.1 200 ")
        assert not plane.events.requests[1:], "nobody who never spoke has asked for anything"


async def test_those_who_ask_once_and_never_say_goodbye_stay_within_the_bound(certificate: tuple[Path, Path]) -> None:
    """A request without a key, and its connection is idle: closing it over TLS takes a farewell that never comes."""
    bound, most, kept = 10, 0, []
    async with running(environment=bounded(certificate, bound)) as plane:
        front = plane.plane.front
        for _ in range(3 * bound):
            kept.append(await asked(plane, certificate))
            most = max(most, len(front.connections))
        assert most <= bound + 1
        await until(lambda: len(front.connections) == bound)
        assert front.leaving.waiting == front.write_deadline.waiting == 0


async def test_a_crowd_that_comes_at_once_finds_a_place_for_each_that_is_given_up(certificate: tuple[Path, Path]) -> None:
    """Whoever is closed to make room is there a turn of the loop longer, in which the next one looks for a place."""
    bound = 20
    async with running(environment=bounded(certificate, bound)) as plane:
        front, kept = plane.plane.front, [await asked(plane, certificate) for _ in range(bound)]
        come = await asyncio.gather(*(plane.open() for _ in range(bound)))
        await until(lambda: front.accepted == 2 * bound)
        await until(lambda: len(front.connections) == bound)
        assert (front.idle_deadline.waiting, front.header_deadline.waiting) == (0, bound)
        for _, writer in come:
            writer.close()
        for client in kept:
            client.writer.close()


async def test_those_who_are_closed_for_their_silence_make_room(certificate: tuple[Path, Path]) -> None:
    async with running(environment=bounded(certificate, 3)) as plane:
        front, kept = plane.plane.front, []
        for _ in range(3):
            client = await SecureClient.connected(plane, certificate)
            await client.do("do_handshake")
            kept.append(client)
        await until(lambda: all(connection._early is None for connection in front.connections))  # type: ignore[attr-defined]
        front.header_deadline.tick(LONG)
        assert front.leaving.waiting == len(front.connections) == 3
        for _ in range(5):
            client = await SecureClient.connected(plane, certificate)
            assert (await client.exchange(plane.get())).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("end", ["idle", "makes room", "drain"])
async def test_a_record_that_never_ends_has_the_time_of_a_head(certificate: tuple[Path, Path], end: str) -> None:
    """The transport tells nobody of its bytes, and they keep the connection from being closed for its silence: they may be a request."""
    async with running(environment=serving_tls(certificate)) as plane:
        front = plane.plane.front
        plane.plane.ticker.stop()
        client = await asked(plane, certificate)
        connection = only_connection(plane)
        # All at once: the sidecar, in this very loop, has no turn to read it.
        os.write(client.writer.get_extra_info("socket").fileno(), b"\x17\x03\x03\x40\x00")
        if end == "idle":
            front.idle_deadline.tick(LONG)
        elif end == "drain":
            front.drain()
        else:
            assert front.idle_deadline.take_oldest() is connection
            assert not connection.give_way()
        assert not connection._transport.is_closing()
        assert (front.idle_deadline.waiting, front.header_deadline.waiting) == (0, 1)
        front.header_deadline.tick(LONG)
        assert connection._transport.is_closing()
        assert connection.give_way()
        await until(lambda: not front.connections)


@pytest.mark.parametrize("who", ["has just come", "is told"])
async def test_whose_time_goes_on_gets_no_other_for_what_it_sends(certificate: tuple[Path, Path], who: str) -> None:
    async with running(environment=serving_tls(certificate)) as plane:
        front = plane.plane.front
        plane.plane.ticker.stop()
        client = await SecureClient.connected(plane, certificate)
        await client.do("do_handshake")
        if who == "is told":
            await client.do("write", b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n")
            assert (await client.do("read", 65_536)).startswith(b"HTTP/1.1 401 ")
        await until(lambda: front.connections and only_connection(plane)._early is None)
        queue = front.told_deadline if who == "is told" else front.header_deadline
        await until(lambda: queue.waiting)
        armed = dict(queue._armed)
        os.write(client.writer.get_extra_info("socket").fileno(), b"\x17\x03\x03\x40\x00")
        front.close_idle()
        assert not only_connection(plane)._transport.is_closing()
        assert queue._armed == armed and front.told_deadline.waiting + front.header_deadline.waiting == 1


async def test_the_handshakes_time_counts_as_the_heads(certificate: tuple[Path, Path]) -> None:
    async with running(environment=serving_tls(certificate)) as plane:
        client = await SecureClient.connected(plane, certificate)
        await until(lambda: plane.plane.front.connections)
        connection, deadline = only_connection(plane), plane.plane.front.header_deadline
        due = deadline._armed[connection]
        await client.do("do_handshake")
        await client.do("write", b"GET /v1/x HTTP/1.1\r\n")
        await until(lambda: connection._buffer)
        assert deadline._armed[connection] == due
        plane.plane.ticker.stop()
        deadline.tick(due)
        assert (await client.do("read", 65_536)).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01\x02\x00", "hello"], ids=["silent", "dripping", "half a handshake"])
async def test_a_handshake_that_does_not_end_is_given_up(certificate: tuple[Path, Path], first: bytes | str) -> None:
    async with running(environment=serving_tls(certificate)) as plane:
        client = await SecureClient.connected(plane, certificate)
        if first == "hello":
            first = await hello(client)
        client.writer.write(cast(bytes, first))
        await until(lambda: plane.plane.front.connections)
        plane.plane.ticker.stop()
        deadline = plane.plane.front.header_deadline
        deadline.tick(deadline._armed[only_connection(plane)])
        await until(lambda: not plane.plane.front.connections)
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP/1.1" not in await asyncio.wait_for(client.reader.read(-1), 20)
        assert plane.plane.front.header_deadline.waiting == plane.plane.front.write_deadline.waiting == 0


async def hello(client: SecureClient) -> bytes:
    """The first message of a handshake."""
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    return client.outgoing.read()


@pytest.mark.parametrize("said", [b"", b"hello", b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n"])
@pytest.mark.parametrize("leaves", ["closes", "resets", "shuts down"])
async def test_who_leaves_in_the_handshake_leaves_nothing_behind(certificate: tuple[Path, Path], said: bytes, leaves: str) -> None:
    async with running(environment=serving_tls(certificate)) as plane:
        front = plane.plane.front
        client = await SecureClient.connected(plane, certificate)
        client.writer.write(await hello(client) if said == b"hello" else said)
        end = client.writer.get_extra_info("socket")
        if leaves == "shuts down":
            client.writer.write_eof()
        else:
            if leaves == "resets":
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.writer.close()
        await until(lambda: front.accepted == 1 and not front.connections)
        assert front.header_deadline.waiting == front.write_deadline.waiting == 0
        assert not plane.events.requests


async def test_a_request_that_comes_with_the_handshakes_end_is_served(certificate: tuple[Path, Path]) -> None:
    async with running(environment=serving_tls(certificate)) as plane:
        client = await SecureClient.connected(plane, certificate)
        await client.do("do_handshake", send=False)
        await client.do("write", plane.get())
        assert (await client.do("read", 65_536)).startswith(b"HTTP/1.1 200 OK")


async def test_the_connection_reads_on_no_further_than_it_is_let(certificate: tuple[Path, Path]) -> None:
    async with running(environment=serving_tls(certificate)) as plane:
        client = await SecureClient.connected(plane, certificate)
        await client.do("do_handshake")
        await until(lambda: plane.plane.front.connections and only_connection(plane)._early is None)
        assert only_connection(plane)._transport.get_read_buffer_limits() == (0, 1)  # type: ignore[attr-defined]


async def test_what_arrives_before_the_connection_knows_that_it_is_secure_is_not_answered_in_the_clear(
    certificate: tuple[Path, Path],
) -> None:
    """The transport may hand on what it has deciphered in the very turn in which the handshake ends."""
    async with running(environment=serving_tls(certificate)) as plane:
        client = await SecureClient.connected(plane, certificate)
        await until(lambda: plane.plane.front.connections)
        connection = only_connection(plane)
        for piece in (plane.get()[:20], plane.get()[20:]):
            connection.data_received(piece)
        assert not plane.plane.front.requests and not plane.hub.seen
        await client.do("do_handshake")
        assert (await client.do("read", 65_536)).startswith(b"HTTP/1.1 200 OK")


async def test_beyond_the_bound_a_few_are_told_after_their_handshake_and_the_others_closed(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front_module, "UNFINISHED_SECONDS", LONG)
    async with running(environment=bounded(certificate, 1)) as plane:
        plane.plane.ticker.stop()
        plane.hub.answer = silent
        busy = await SecureClient.connected(plane, certificate)
        await busy.do("do_handshake")
        await busy.do("write", plane.get())
        await until(lambda: plane.hub.seen)
        told = [await SecureClient.connected(plane, certificate) for _ in range(UNTOLD)]
        await until(lambda: plane.plane.front.accepted == 1 + UNTOLD)
        reader, _ = await plane.open()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(-1), 20)
        for client in told:
            await client.do("do_handshake")
            await client.do("write", plane.post(bytes(20_000)))
            answer = await client.do("read", 65_536)
            assert answer.startswith(b"HTTP/1.1 503 ") and b"overloaded" in answer and b"retry-after" in answer


async def test_who_is_to_be_told_and_stays_silent_is_given_up(certificate: tuple[Path, Path]) -> None:
    async with running(environment=bounded(certificate, 1)) as plane:
        front = plane.plane.front
        for number in range(2):
            await plane.open()
            await until(lambda count=number: front.accepted == count + 1)  # type: ignore[misc]
        plane.plane.ticker.stop()
        assert (front.header_deadline.waiting, front.linger_deadline.waiting, front.told_deadline.waiting) == (1, 1, 1)
        front.linger_deadline.tick(front.loop.time() + 60)
        await until(lambda: len(front.connections) == 1)
        assert front.told_deadline.waiting == 0


async def test_a_drain_awaits_a_handshake_and_no_silence(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_module, "FIRST_SECONDS", LONG)
    async with running(environment=serving_tls(certificate)) as plane:
        client = await SecureClient.connected(plane, certificate)
        client.writer.write(await hello(client))
        await until(lambda: plane.plane.front.connections)
        draining = asyncio.create_task(plane.plane.drain(60))
        await until(lambda: plane.plane.front.draining)
        assert (await client.exchange(plane.get(close=False))).startswith(b"HTTP/1.1 200 ")
        await draining
    monkeypatch.setattr(front_module, "FIRST_SECONDS", 0.0)
    async with running(environment=serving_tls(certificate)) as plane:
        reader, _ = await plane.open()
        await until(lambda: plane.plane.front.connections)
        await asyncio.wait_for(plane.plane.drain(60), 20)
        assert await asyncio.wait_for(reader.read(-1), 20) == b""
        # With Python 3.13 a handshake that is broken off takes a turn of the loop more to say so.
        await until(lambda: not plane.plane.front.connections)


async def test_who_waits_in_a_socket_that_is_closed_ends_its_handshake_and_is_served(certificate: tuple[Path, Path]) -> None:
    async with running(environment=serving_tls(certificate)) as plane:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            streams = [await asyncio.open_connection(*listener.getsockname()) for _ in range(10)]
            await queued.serve(queued.take(listener, 10), plane.plane.connection)
        assert len(plane.plane.front.connections) == 10
        for reader, writer in streams:
            answer = await SecureClient(reader, writer, certificate).exchange(plane.get())
            assert answer.startswith(b"HTTP/1.1 200 ")
            writer.close()


async def test_over_a_unix_socket(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    async with running(environment=serving_tls(certificate), unix=tmp_path / "s") as plane:
        client = await SecureClient.connected(plane, certificate)
        assert (await client.exchange(plane.get())).startswith(b"HTTP/1.1 200 ")
