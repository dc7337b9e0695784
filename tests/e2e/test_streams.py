"""Large bodies and the end of a process: memory stays flat, nothing that broke off looks complete."""

from __future__ import annotations

import http.client
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.test_revocation import open_stream, read_to_the_end
from tests.support.hub import ACCESS_KEY, HubProcess
from tests.support.sidecar import Sidecar, call, resident_bytes, wait_until

HUB_OPTIONS = ("--delay", "0.2")

LARGE = 200 << 20
ROOM = 24 << 20
"""What a worker may grow by while a large body passes."""


class Peak:
    """The largest resident memory of a process while the block runs."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self.before = self.largest = resident_bytes(pid)
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.largest = max(self.largest, resident_bytes(self._pid))


def connect(sidecar: Sidecar) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(sidecar.url.removeprefix("http://"), timeout=60)


def test_memory_stays_flat_over_200_mib_each_way(hub: HubProcess, tmp_path: Path) -> None:
    with Sidecar(tmp_path, hub.url, ACCESS_KEY) as sidecar:
        _, secret = sidecar.create_key()
        assert sidecar.ask(secret).status == 200
        (worker,) = sidecar.children("worker")
        headers = {"Authorization": f"Bearer {secret}"}
        with Peak(worker) as peak:
            connection = connect(sidecar)
            connection.request(
                "POST", "/api/v2/audio/speech", '{"model":"demo/large:200","input":"x"}', headers | {"Content-Type": "application/json"}
            )
            answer = connection.getresponse()
            assert answer.status == 200
            size = 0
            while data := answer.read(1 << 20):
                size += len(data)
            assert size == LARGE
            connection.close()
        assert peak.largest - peak.before < ROOM
        boundary = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        end = b"\r\n--b--\r\n"

        def body() -> Iterator[bytes]:
            yield boundary
            for _ in range(LARGE >> 20):
                yield bytes(1 << 20)
            yield end

        with Peak(worker) as peak:
            connection = connect(sidecar)
            fields = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": str(len(boundary) + LARGE + len(end))}
            connection.request("POST", "/api/v2/audio/transcriptions", body(), headers | fields)
            assert connection.getresponse().status == 200
            connection.close()
        assert peak.largest - peak.before < ROOM


def test_sigterm_lets_streams_end_and_breaks_the_rest_off(hub: HubProcess, tmp_path: Path) -> None:
    with Sidecar(tmp_path, hub.url, ACCESS_KEY, proxy__drain_timeout="60s") as sidecar:
        _, secret = sidecar.create_key()
        short = open_stream(sidecar, secret, seconds=8)
        assert sidecar.process is not None
        sidecar.process.send_signal(signal.SIGTERM)
        wait_until(lambda: call("GET", f"{sidecar.metrics_url}/readyz").status == 503, what="503 of readyz")
        assert read_to_the_end(short).endswith(b"0\r\n\r\n"), "a stream that could end in time was cut"
        assert sidecar.process.wait(60) == 0
    directory = tmp_path / "second"
    directory.mkdir()
    with Sidecar(directory, hub.url, ACCESS_KEY, proxy__drain_timeout="300ms") as sidecar:
        _, secret = sidecar.create_key()
        long = open_stream(sidecar, secret)
        assert sidecar.process is not None
        sidecar.process.send_signal(signal.SIGTERM)
        assert not read_to_the_end(long).endswith(b"0\r\n\r\n"), "a stream that was cut looks complete"
        assert sidecar.process.wait(60) == 0


def test_killing_the_supervisor_frees_the_ports(hub: HubProcess, tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path, hub.url, ACCESS_KEY)
    sidecar.start()
    assert sidecar.process is not None
    sidecar.process.kill()
    sidecar.process.wait()

    def all_free() -> bool:
        for url in (sidecar.url, sidecar.admin_url, sidecar.metrics_url):
            host, port = url.removeprefix("http://").split(":")
            with socket.socket() as probe:
                if probe.connect_ex((host, int(port))) == 0:
                    return False
        return True

    wait_until(all_free, what="free ports")
    with sidecar:
        assert sidecar.is_ready()


def test_a_broken_file_changes_nothing_and_a_good_one_is_taken_without_a_refused_request(hub: HubProcess, tmp_path: Path) -> None:
    file = tmp_path / "sidecar.yaml"
    file.write_text("enforcement: enforce\n")
    sidecar = Sidecar(tmp_path, hub.url, ACCESS_KEY)
    sidecar.environment["SIDECAR_CONFIG"] = str(file)
    with sidecar:
        _, secret = sidecar.create_key()
        assert sidecar.process is not None
        old_worker = sidecar.children("worker")
        file.write_text("enforcement: perhaps\n")
        sidecar.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "enforcement" in sidecar.log.read_text(), what="a word about the broken file")
        assert sidecar.ask(secret).status == 200 and sidecar.children("worker") == old_worker
        file.write_text("proxy: {realm: another}\n")
        sidecar.process.send_signal(signal.SIGHUP)
        failed = []
        deadline = time.monotonic() + 60
        while True:
            try:
                if sidecar.ask(secret).status != 200:
                    failed.append("status")
            except OSError as error:
                failed.append(repr(error))
            refused = sidecar.ask("ahk_x")
            if 'realm="another"' in refused.headers.get("www-authenticate", "") and sidecar.children("worker") != old_worker:
                break
            assert time.monotonic() < deadline, "the new settings were not taken"
        assert not failed
