"""The data plane over TLS: the same promises, and a handshake that drips lasts no longer than a head that does."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sidecar.worker.client.admission import UNTOLD
from tests.failures.logs import assert_clean
from tests.support.certificates import LOCAL, outdated, self_signed
from tests.support.raw_hub import RawHubProcess, raw_hub_process
from tests.support.sidecar import Sidecar, wait_until

PATIENCE = 30.0
BOUND, CROWD = 50, 400


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"), *LOCAL)


@pytest.fixture(scope="module")
def sidecar(certificate: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    settings = {
        "hub__profile": "generic",
        "proxy__timeouts__header": "3s",
        "proxy__tls__certificate_file": str(certificate[0]),
        "proxy__tls__key_file": str(certificate[1]),
    }
    with (
        raw_hub_process(tmp_path_factory.mktemp("hub")) as hub,
        Sidecar(tmp_path_factory.mktemp("sidecar"), hub.url, "hub-key", **settings) as sidecar,
    ):
        yield sidecar
        assert_clean(sidecar)


@pytest.fixture(scope="module")
def secret(sidecar: Sidecar) -> str:
    return sidecar.create_key()[1]


def connect(sidecar: Sidecar) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(sidecar.url.rpartition(":")[2])), timeout=PATIENCE)


def secure(sidecar: Sidecar, certificate: tuple[Path, Path]) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(certificate[0]))
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context.wrap_socket(connect(sidecar), server_hostname="localhost", suppress_ragged_eofs=False)


def request(secret: str, path: str, fields: str = "Connection: close\r\n") -> bytes:
    return f"GET /v1/{path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\n{fields}\r\n".encode()


def read_all(client: socket.socket) -> tuple[bytes, bool]:
    """All that came, and whether the end was a clean one."""
    data = b""
    try:
        while piece := client.recv(65_536):
            data += piece
    except (ConnectionResetError, ssl.SSLEOFError):
        return data, False
    return data, True


def test_requests_are_served_in_http_1_1(sidecar: Sidecar, certificate: tuple[Path, Path], secret: str) -> None:
    with secure(sidecar, certificate) as client:
        assert client.selected_alpn_protocol() == "http/1.1" and client.version() in ("TLSv1.2", "TLSv1.3")
        client.sendall(request(secret, "x"))
        data, clean = read_all(client)
        assert data.startswith(b"HTTP/1.1 200 ") and clean


def test_old_versions_of_tls_are_refused(sidecar: Sidecar) -> None:
    with connect(sidecar) as plain, pytest.raises((ssl.SSLError, ConnectionResetError)):
        outdated().wrap_socket(plain)


def test_a_broken_answer_has_no_clean_end(sidecar: Sidecar, certificate: tuple[Path, Path], secret: str) -> None:
    with secure(sidecar, certificate) as client:
        client.sendall(request(secret, "cut").replace(b"HTTP/1.1", b"HTTP/1.0"))
        data, clean = read_all(client)
        assert b"data: " in data and not clean, "a body that ends with its connection looks complete"


def test_a_refusal_is_heard_although_the_client_was_sending(sidecar: Sidecar, certificate: tuple[Path, Path]) -> None:
    with secure(sidecar, certificate) as client:
        client.sendall(b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + bytes(50_000))
        data, _ = read_all(client)
        assert data.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01\x02\x00", b"GET /v1/x HTTP/1.1\r\nHost: a\r\n\r\n"])
def test_what_is_no_handshake_ends(sidecar: Sidecar, first: bytes) -> None:
    begin = time.monotonic()
    with connect(sidecar) as client:
        client.sendall(first)
        data, _ = read_all(client)
        assert b"HTTP/1.1" not in data
    assert time.monotonic() - begin < PATIENCE


def test_a_client_that_resets_in_its_upload_leaves_nothing_behind(sidecar: Sidecar, certificate: tuple[Path, Path]) -> None:
    key_id, secret = sidecar.create_key()
    for _ in range(20):
        client = secure(sidecar, certificate)
        client.sendall(request(secret, "delay-50", "Content-Length: 100000\r\n").replace(b"GET", b"POST", 1) + bytes(1000))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    wait_until(lambda: sidecar.metric("sidecar_worker_connections") == 0, within=PATIENCE, what="no connection left")
    wait_until(lambda: sidecar.metric("sidecar_key_in_flight", key_id=key_id) == 0, within=PATIENCE, what="nothing in flight")
    # A reset may overtake the request itself; what was read of the others is the client's doing.
    name = "sidecar_key_requests_total"
    wait_until(lambda: sidecar.metric(name, key_id=key_id) == sidecar.metric(name, key_id=key_id, outcome="client_closed"), within=PATIENCE)


def test_silent_handshakes_are_within_the_bound_and_an_honest_client_is_served(
    certificate: tuple[Path, Path], hub: RawHubProcess, tmp_path: Path
) -> None:
    settings = {
        "hub__profile": "generic",
        "proxy__bounds__connections": str(BOUND),
        "proxy__timeouts__header": "10m",
        "proxy__tls__certificate_file": str(certificate[0]),
        "proxy__tls__key_file": str(certificate[1]),
    }
    with Sidecar(tmp_path, hub.url, "hub-key", **settings) as sidecar, contextlib.ExitStack() as crowd:
        _, secret = sidecar.create_key()
        worker = psutil.Process(sidecar.children("worker")[0])

        def is_served() -> bool:
            # Python (3.11, 3.13) leaves the socket to the collector when it is reset before `wrap_socket` has looked at it.
            with warnings.catch_warnings(action="ignore", category=ResourceWarning):
                try:
                    client = secure(sidecar, certificate)
                except OSError:
                    return False
            with client:
                client.sendall(request(secret, "x"))
                return read_all(client)[0].startswith(b"HTTP/1.1 200 ")

        assert is_served()
        most = worker.num_fds() + BOUND + UNTOLD
        for _ in range(CROWD):
            # Who is far beyond the bound is reset, perhaps before its own end has seen the connection stand.
            with contextlib.suppress(ConnectionResetError):
                crowd.enter_context(connect(sidecar))
        wait_until(lambda: sidecar.metric("sidecar_connections_total") > CROWD, within=PATIENCE, what="all are accepted")
        # Who is beyond the bound is closed a turn of the loop later.
        wait_until(lambda: worker.num_fds() <= most, within=PATIENCE, what="the descriptors are within the bound")
        wait_until(is_served, within=PATIENCE, what="one of them makes room")
        assert worker.num_fds() <= most
        assert_clean(sidecar)
