"""The hub fails in every way: the client is told while it can be told, else the answer is visibly broken off."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.failures.logs import assert_clean
from tests.support.ports import free_port
from tests.support.raw_hub import RawHubProcess
from tests.support.sidecar import Sidecar, wait_until

HUB_PATIENCE = 2
SETTINGS = {
    "hub__profile": "generic",
    "proxy__timeouts__hub_first_byte": f"{HUB_PATIENCE}s",
    "proxy__timeouts__hub_idle": f"{HUB_PATIENCE}s",
    "proxy__timeouts__hub_connect": f"{HUB_PATIENCE}s",
}


@pytest.fixture(scope="module")
def sidecar(hub: RawHubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    with Sidecar(tmp_path_factory.mktemp("sidecar"), hub.url, "hub-key", **SETTINGS) as sidecar:
        yield sidecar
        assert_clean(sidecar)


@pytest.fixture(scope="module")
def secret(sidecar: Sidecar) -> str:
    return sidecar.create_key()[1]


def connection(sidecar: Sidecar) -> socket.socket:
    host, port = sidecar.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def received(sidecar: Sidecar, secret: str, path: str, body: bytes = b"") -> tuple[bytes, bool]:
    """All that came back for one request, and whether the connection was reset."""
    with connection(sidecar) as client:
        head = f"POST /v1/{path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        client.sendall(head.encode() + body)
        data = b""
        try:
            while piece := client.recv(65_536):
                data += piece
        except ConnectionResetError:
            return data, True
        return data, False


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("silent", 504, "hub_timeout"),
        ("reset", 502, "hub_unavailable"),
        ("garbage", 502, "hub_unavailable"),
        ("deaf", 504, "hub_timeout"),
    ],
)
def test_without_an_answer_the_client_is_told(sidecar: Sidecar, path: str, status: int, code: str) -> None:
    key_id, secret = sidecar.create_key()
    body = bytes(30 << 20) if path == "deaf" else b"{}"
    try:
        data, _ = received(sidecar, secret, path, body)
    except (ConnectionResetError, BrokenPipeError):
        assert path == "deaf", "only who is still sending may miss the answer"
    else:
        assert data.startswith(b"HTTP/1.1 %d " % status) and code.encode() in data
    counted = {"key_id": key_id, "outcome": "hub_error", "reason": code}
    wait_until(lambda: sidecar.metric("sidecar_key_requests_total", **counted) == 1, what="the hub's failure in the metrics")


@pytest.mark.parametrize("path", ["cut", "shut", "pause"])
def test_an_answer_that_ends_too_early_looks_broken(sidecar: Sidecar, secret: str, path: str) -> None:
    data, reset = received(sidecar, secret, path)
    assert data.startswith(b"HTTP/1.1 200 ") and b"data: " in data
    assert reset and not data.endswith(b"0\r\n\r\n")


def test_a_slow_answer_is_waited_for_and_an_endless_one_goes_on(sidecar: Sidecar, secret: str) -> None:
    data, _ = received(sidecar, secret, "delay-300")
    assert data.startswith(b"HTTP/1.1 200 ")
    with connection(sidecar) as client:
        client.sendall(f"GET /v1/endless-50 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\n\r\n".encode())
        begin = time.monotonic()
        seen = b""
        while time.monotonic() - begin < 1.5 * HUB_PATIENCE:
            piece = client.recv(65_536)
            assert piece, "a stream was cut although the hub keeps it alive"
            seen += piece
        assert seen.count(b"data: ") > 5


def test_every_failure_is_counted_under_one_outcome(sidecar: Sidecar) -> None:
    key_id, secret = sidecar.create_key()
    for path in ("silent", "reset", "garbage", "cut", "shut", "pause", "delay-1"):
        received(sidecar, secret, path)

    def counts() -> tuple[float, float, float]:
        name = "sidecar_key_requests_total"
        return (
            sidecar.metric(name, key_id=key_id),
            sidecar.metric(name, key_id=key_id, outcome="hub_error"),
            sidecar.metric(name, key_id=key_id, outcome="ok"),
        )

    wait_until(lambda: counts() == (7, 6, 1), within=15, what="seven requests, six of them the hub's fault")
    wait_until(lambda: sidecar.metric("sidecar_key_in_flight", key_id=key_id) == 0, within=15, what="nothing in flight")


def test_a_hub_that_is_down_is_502_and_used_again_once_it_is_up(tmp_path: Path) -> None:
    port = free_port()
    with Sidecar(tmp_path, f"http://127.0.0.1:{port}/", "hub-key", **SETTINGS) as sidecar:
        _, secret = sidecar.create_key()
        answer = sidecar.ask(secret, "/v1/x", {})
        assert (answer.status, answer.code) == (502, "hub_unavailable")
        assert sidecar.is_ready(), "the hub does not count for readiness"
        # A listener that accepts nothing more: the connection attempt itself hangs.
        with socket.socket() as full:
            full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            full.bind(("127.0.0.1", port))
            full.listen(0)
            waiting = [socket.socket() for _ in range(4)]
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
            answer = sidecar.ask(secret, "/v1/x", {})
            assert (answer.status, answer.code) == (504, "hub_timeout")
            for one in waiting:
                one.close()
        assert_clean(sidecar)
