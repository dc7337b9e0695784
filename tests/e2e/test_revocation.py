"""A revoked key is dead everywhere: in milliseconds when all is well, within two seconds whatever breaks."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.hub import ACCESS_KEY, HubProcess
from tests.support.sidecar import Sidecar, call, wait_until

WORKERS = 4
WORD = 0.2
HUB_OPTIONS = ("--delay", str(WORD))
PATIENCE = 30.0


@pytest.fixture
def sidecar(hub: HubProcess, tmp_path: Path) -> Iterator[Sidecar]:
    with Sidecar(tmp_path, hub.url, ACCESS_KEY, proxy__workers=str(WORKERS)) as sidecar:
        yield sidecar


@contextmanager
def connections_to_each_worker(sidecar: Sidecar, secret: str) -> Iterator[list[socket.socket]]:
    """Kept connections that have been asked over; opened until /status shows one on every worker."""
    host, port = sidecar.url.removeprefix("http://").split(":")
    opened: list[socket.socket] = []

    def spread() -> list[int]:
        """How many each worker has, once all of them are told."""
        counts = [worker["connections"] for worker in sidecar.admin("GET", "/status").json["workers"]]
        return counts if (len(counts), sum(counts)) == (WORKERS, len(opened)) else []

    try:
        while not opened or not all(wait_until(spread, what="the connections in /status")):
            for _ in range(2 * WORKERS):
                opened.append(socket.create_connection((host, int(port)), timeout=PATIENCE))
                assert ask(opened[-1], secret) == 200
        yield opened
    finally:
        for connection in opened:
            connection.close()


def ask(connection: socket.socket, secret: str) -> int:
    """The status of a small request on a kept connection."""
    connection.sendall(f"GET /api/v2/status HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        data = connection.recv(65_536)
        assert data, "the connection was closed"
        head += data
    head, _, body = head.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65_536)
    return int(head[9:12])


def open_stream(sidecar: Sidecar, secret: str, *, seconds: float = 10) -> socket.socket:
    """A stream that has begun and goes on for `seconds`."""
    chat = {"messages": [{"role": "user", "content": "Hi"}], "modelOptions": {"model": f"demo/long:{seconds / WORD:.0f}"}}
    body = json.dumps({"input": chat, "options": {"streaming": True}}).encode()
    host, port = sidecar.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=PATIENCE)
    head = f"POST /api/v2/chat HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
    return connection


def read_to_the_end(connection: socket.socket) -> bytes:
    received = b""
    try:
        while data := connection.recv(65_536):
            received += data
            if received.endswith(b"0\r\n\r\n"):
                break
    except ConnectionResetError:
        pass
    connection.close()
    return received


def last_admitted(sidecar: Sidecar, secret: str, *, seconds: float) -> float:
    """When, in seconds from now, the last request was asked that some worker still let through; the others got 503.

    The workers hear of a change and lose their leases at different moments: only the bound holds for all of them.
    """
    begun = time.monotonic()
    admitted = 0.0
    while (asked := time.monotonic() - begun) < seconds:
        answer = sidecar.ask(secret)
        admitted = asked if answer.status == 200 else admitted
        assert answer.status == 200 or (answer.status, answer.code) == (503, "key_store_unavailable")
    return admitted


def test_every_worker_refuses_and_an_open_stream_is_cut(sidecar: Sidecar) -> None:
    key_id, secret = sidecar.create_key()
    with connections_to_each_worker(sidecar, secret) as connections:
        stream = open_stream(sidecar, secret)
        assert sidecar.admin("POST", f"/keys/{key_id}/revoke").status == 200
        served = list(connections)

        def is_refused_everywhere() -> bool:
            served[:] = [connection for connection in served if ask(connection, secret) != 401]
            return not served

        wait_until(is_refused_everywhere, within=2, what="the refusal on every connection")
        assert {ask(connection, secret) for connection in connections} == {401}
        assert not read_to_the_end(stream).endswith(b"0\r\n\r\n")


def test_a_frozen_store_answers_503_within_two_seconds_and_streams_go_on(sidecar: Sidecar) -> None:
    _, secret = sidecar.create_key()
    assert sidecar.ask(secret).status == 200
    stream = open_stream(sidecar, secret, seconds=6)
    (store,) = sidecar.children("store")
    os.kill(store, signal.SIGSTOP)
    try:
        assert last_admitted(sidecar, secret, seconds=4) < 2
        assert read_to_the_end(stream).endswith(b"0\r\n\r\n")
    finally:
        os.kill(store, signal.SIGCONT)
    wait_until(lambda: sidecar.ask(secret).status == 200)


def test_deleting_the_store_is_503_and_never_401(sidecar: Sidecar) -> None:
    _, secret = sidecar.create_key()
    assert sidecar.ask(secret).status == 200
    flush_all(sidecar)
    assert last_admitted(sidecar, secret, seconds=2.5) < 2
    wait_until(lambda: not sidecar.is_ready())
    # Once, however many processes and requests have met it; and then nothing more, however long it lasts.
    assert {sidecar.ask(secret).status for _ in range(100)} == {503}
    assert sidecar.log.read_text().count("key store is empty or another one") == 1
    assert call("GET", f"{sidecar.metrics_url}/livez").status == 200


def flush_all(sidecar: Sidecar) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(next((sidecar.data_dir / "store").glob("*.sock"))))
        connection.sendall(b"*1\r\n$8\r\nFLUSHALL\r\n")
        assert connection.recv(100).startswith(b"+OK")
