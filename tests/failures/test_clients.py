"""Clients leave, drip, stall and reset: nothing waits for them for ever, and the hub never sees a request that looks whole."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from tests.failures.logs import assert_clean
from tests.support.raw_hub import RawHubProcess
from tests.support.sidecar import Sidecar, wait_until

SETTINGS = {
    "hub__profile": "generic",
    "proxy__timeouts__header": "2s",
    "proxy__timeouts__body_idle": "3s",
    "proxy__timeouts__write_idle": "2s",
    "proxy__timeouts__keep_alive": "2s",
}
"""Long enough for a busy machine to do what a test does meanwhile."""
PATIENCE = 30.0
"""Seconds after which such a deadline counts as missed, however busy the machine is."""


@pytest.fixture(scope="module")
def sidecar(hub: RawHubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    with Sidecar(tmp_path_factory.mktemp("sidecar"), hub.url, "hub-key", **SETTINGS) as sidecar:
        yield sidecar
        assert_clean(sidecar)


@pytest.fixture
def key(sidecar: Sidecar) -> tuple[str, str]:
    return sidecar.create_key()


def connect(sidecar: Sidecar, receive_buffer: int = 0) -> socket.socket:
    host, port = sidecar.url.removeprefix("http://").split(":")
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(PATIENCE)
    client.connect((host, int(port)))
    return client


def head(secret: str, path: str, fields: str = "", method: str = "POST") -> bytes:
    return f"{method} /v1/{path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\n{fields}\r\n".encode()


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def rest(client: socket.socket) -> bytes:
    data = b""
    try:
        while piece := client.recv(65_536):
            data += piece
    except ConnectionResetError:
        pass
    return data


def half_close(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


LEAVING = [pytest.param(leave, id=leave.__name__) for leave in (socket.socket.close, reset, half_close)]


@pytest.mark.parametrize("leave", LEAVING)
@pytest.mark.parametrize("framing", ["Content-Length: 1000\r\n", "Transfer-Encoding: chunked\r\n"])
def test_gone_in_upload(
    sidecar: Sidecar, hub: RawHubProcess, key: tuple[str, str], leave: Callable[[socket.socket], None], framing: str
) -> None:
    key_id, secret = key
    client = connect(sidecar)
    client.sendall(head(secret, f"upload-of-{key_id}/delay", framing) + b"3e8\r\nhalf")
    wait_until(lambda: f"/v1/upload-of-{key_id}/delay" in hub.seen("begin"), within=PATIENCE, what="the upload's begin at the hub")
    leave(client)
    wait_until(lambda: sidecar.metric("sidecar_key_requests_total", key_id=key_id, outcome="client_closed") == 1, within=PATIENCE)
    assert f"/v1/upload-of-{key_id}/delay" not in hub.seen("end")
    client.close()


@pytest.mark.parametrize("leave", LEAVING)
def test_gone_in_stream(sidecar: Sidecar, key: tuple[str, str], leave: Callable[[socket.socket], None]) -> None:
    key_id, secret = key
    client = connect(sidecar)
    client.sendall(head(secret, "endless-20", method="GET"))
    assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
    leave(client)
    wait_until(lambda: sidecar.metric("sidecar_key_requests_total", key_id=key_id, outcome="client_closed") == 1, within=PATIENCE)
    wait_until(lambda: sidecar.metric("sidecar_key_in_flight", key_id=key_id) == 0, within=PATIENCE)
    client.close()


def drip(client: socket.socket, data: bytes, pause: float) -> bytes:
    """Send `data` byte by byte until an answer or an end comes; what came."""
    client.settimeout(pause)
    for byte in data:
        try:
            client.sendall(bytes([byte]))
            return client.recv(65_536)
        except TimeoutError:
            continue
        except (ConnectionResetError, BrokenPipeError):
            return b""
    raise AssertionError("nothing ever stopped the dripping")


def test_slowloris_in_the_head(sidecar: Sidecar, key: tuple[str, str]) -> None:
    begin = time.monotonic()
    with connect(sidecar) as client:
        answer = drip(client, head(key[1], "x", "X-Field: " + "a" * 5000 + "\r\n", "GET"), 0.05)
    assert answer.startswith(b"HTTP/1.1 408 ") and b"request_timeout" in answer
    assert time.monotonic() - begin < PATIENCE


def test_a_body_that_stops(sidecar: Sidecar, key: tuple[str, str]) -> None:
    with connect(sidecar) as client:
        client.sendall(head(key[1], "x", "Content-Length: 100\r\n") + b"some")
        assert rest(client).startswith(b"HTTP/1.1 408 ")


def test_a_reader_that_stops(sidecar: Sidecar, key: tuple[str, str]) -> None:
    key_id, secret = key
    with connect(sidecar, receive_buffer=4096) as client:
        client.sendall(head(secret, "endless-0", method="GET"))
        wait_until(lambda: sidecar.metric("sidecar_key_requests_total", key_id=key_id, outcome="client_closed") == 1, within=PATIENCE)


def test_silence_and_an_idle_connection_are_closed(sidecar: Sidecar, key: tuple[str, str]) -> None:
    with connect(sidecar) as silent, connect(sidecar) as idle:
        idle.sendall(head(key[1], "x", method="GET"))
        assert rest(silent) == b""
        assert rest(idle).count(b"HTTP/1.1 200 ") == 1


def test_a_refused_upload_is_not_swallowed(sidecar: Sidecar) -> None:
    with connect(sidecar) as client:
        client.sendall(b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000000\r\n\r\n")
        sent = 0
        begin = time.monotonic()
        try:
            while time.monotonic() - begin < PATIENCE:
                sent += client.send(bytes(1 << 16))
        except OSError:
            pass
        assert sent < 64 << 20 and time.monotonic() - begin < PATIENCE


def test_resets_in_great_number_leave_nothing_behind(sidecar: Sidecar, key: tuple[str, str]) -> None:
    """Clients that reset at every moment of an exchange."""
    key_id, secret = key
    raw = head(secret, "stream-1", "Content-Length: 2000\r\n") + bytes(2000)
    for step in range(0, len(raw), 29):
        client = connect(sidecar)
        client.sendall(raw[:step])
        if step % 2:
            time.sleep(0.002)
        reset(client)
    for number in range(60):
        client = connect(sidecar)
        client.sendall(raw)
        client.recv(1 + number)
        reset(client)
    wait_until(lambda: sidecar.metric("sidecar_key_in_flight", key_id=key_id) == 0, within=PATIENCE)
    wait_until(lambda: sidecar.metric("sidecar_worker_connections") == 0, within=PATIENCE, what="no connection left")
    assert sidecar.ask(secret, "/v1/x", {}).status == 200


def test_an_accepted_request_of_an_old_client_is_closed_after_its_answer(sidecar: Sidecar, key: tuple[str, str]) -> None:
    with connect(sidecar) as client:
        client.sendall(head(key[1], "stream-1", method="GET").replace(b"HTTP/1.1", b"HTTP/1.0"))
        data = rest(client)
        assert b"transfer-encoding" not in data and data.count(b"data: \n") == 20
