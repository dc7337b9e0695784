"""The process itself is in trouble: no disk, no descriptors, a signal under load."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.failures.logs import assert_clean
from tests.support.hammer import hammer
from tests.support.raw_hub import RawHubProcess, raw_hub_process
from tests.support.sidecar import Sidecar, call, wait_until
from tests.support.store import Server
from tests.support.tools import missing, require

PATIENCE = 30.0


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RawHubProcess]:
    with raw_hub_process(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


def request(secret: str, path: str = "delay-2") -> bytes:
    return f"GET /v1/{path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\n\r\n".encode()


async def test_sigterm_under_load_refuses_nothing_that_it_accepted(hub: RawHubProcess, tmp_path: Path) -> None:
    """Whoever got a connection before the end got a whole answer; what was answered is in the ledger after the next start."""
    with Sidecar(tmp_path, hub.url, "hub-key", hub__profile="generic", proxy__drain_timeout="10s") as sidecar:
        key_id, secret = await asyncio.to_thread(sidecar.create_key)
        assert sidecar.process is not None
        ended = False
        load = asyncio.create_task(hammer([sidecar.url], request(secret), connections=20, stop=lambda _: ended))
        before = asyncio.create_task(_whole_answers(sidecar, secret))
        await asyncio.sleep(1.0)
        sidecar.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(sidecar.process.wait, 60) == 0
        ended = True
        told = await load
        await before
        statuses = Counter(one.status for one in told)
        assert statuses[200] > 50 and set(statuses) <= {200, 503}
        assert_clean(sidecar)
    with sidecar:
        wait_until(lambda: sidecar.admin("GET", f"/keys/{key_id}/usage").json["totals"]["requests"] >= statuses[200] + 1, within=PATIENCE)


async def _whole_answers(sidecar: Sidecar, secret: str) -> None:
    host, port = sidecar.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request(secret, "stream-100"))
    assert (await asyncio.wait_for(reader.read(-1), PATIENCE)).endswith(b"0\r\n\r\n"), "an answer in progress was cut"
    writer.close()


class Confined(Sidecar):
    """A sidecar that is started by another command, which ends in `sidecar serve`."""

    def __init__(self, directory: Path, hub_url: str, wrapper: list[str], **environment: str) -> None:
        super().__init__(directory, hub_url, "hub-key", hub__profile="generic", **environment)
        self._wrapper = wrapper

    def start(self, *, wait: bool = True) -> None:
        with self.log.open("ab") as log:
            command = [*self._wrapper, sys.executable, "-m", "sidecar", "serve"]
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, cwd=self.data_dir.parent)
        if wait:
            wait_until(self.is_ready, within=PATIENCE, what=f"readiness ({self.log})")


def test_without_descriptors_the_worker_refuses_in_good_order_and_recovers(hub: RawHubProcess, tmp_path: Path) -> None:
    prlimit = require("prlimit", install="apt-get install util-linux")
    with Confined(tmp_path, hub.url, [prlimit, "--nofile=160:160"]) as sidecar:
        assert "only 160 file descriptors" in sidecar.log.read_text()
        _, secret = sidecar.create_key()
        host, port = sidecar.url.removeprefix("http://").split(":")
        (worker,) = sidecar.children("worker")
        crowd = [socket.create_connection((host, int(port)), timeout=PATIENCE) for _ in range(400)]
        try:
            for client in crowd:
                with contextlib.suppress(OSError):
                    client.sendall(b"GET /v1")
            busy = psutil.Process(worker)
            before = sum(busy.cpu_times()[:2])
            time.sleep(2.0)
            assert sum(busy.cpu_times()[:2]) - before < 1.0, "the worker turns in a circle"
            assert busy.num_fds() <= 160
            # Unfinished requests make room for one that is whole.
            wait_until(lambda: sidecar.ask(secret, "/v1/x", {}).status == 200, within=PATIENCE)
        finally:
            for client in crowd:
                client.close()
        wait_until(lambda: sidecar.ask(secret, "/v1/x", {}).status == 200, within=PATIENCE)
        assert sidecar.metric("sidecar_spool_dropped_total") == 0
        assert_clean(sidecar)


def test_a_full_disk_stops_no_request(hub: RawHubProcess, tmp_path: Path) -> None:
    unshare = require("unshare", install="apt-get install util-linux")
    if subprocess.run([unshare, "-m", "true"], capture_output=True, check=False).returncode:
        missing("the right to mount", "run as root or with CAP_SYS_ADMIN")
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    store = Server(tmp_path / "store", tcp=True)
    store.start()
    wrapper = [unshare, "-m", "sh", "-c", f'mount -t tmpfs -o size=3m,mode=700 none "{data}" && exec "$@"', "sh"]
    try:
        with Confined(tmp_path, hub.url, wrapper, store__url=store.url, spool__segment_bytes="64KiB") as sidecar:
            inside = Path(f"/proc/{sidecar.children('control')[0]}/root{data}")
            token = (inside / "admin-token").read_text().strip()
            answer = call("POST", f"{sidecar.admin_url}/admin/v1/keys", {"name": "x"}, {"Authorization": f"Bearer {token}"})
            key_id, secret = answer.json["key"]["id"], answer.json["secret"]
            (inside / "ballast").write_bytes(
                bytes((3 << 20) - sum(path.stat().st_size for path in inside.rglob("*") if path.is_file()) - (150 << 10))
            )
            with contextlib.suppress(OSError), (inside / "more").open("wb", buffering=0) as rest:
                while rest.write(bytes(4096)):
                    pass
            statuses = Counter(sidecar.ask(secret, "/v1/x", {}).status for _ in range(200))
            assert statuses == {200: 200}, "a full disk is no reason to refuse"
            wait_until(lambda: "events were lost" in sidecar.log.read_text(), within=PATIENCE, what="a word in the log")
            for name in ("ballast", "more"):
                (inside / name).unlink()

            def counted() -> float:
                return sidecar.metric("sidecar_key_requests_total", key_id=key_id, outcome="ok")

            time.sleep(1.1)  # the spool looks for room once a second
            before = counted()
            for _ in range(20):
                assert sidecar.ask(secret, "/v1/x", {}).status == 200
            wait_until(lambda: counted() >= before + 20, within=PATIENCE, what="use is counted again")
            wait_until(lambda: sidecar.metric("sidecar_spool_dropped_total") > 0, within=PATIENCE, what="a count of what was lost")
            assert_clean(sidecar)
    finally:
        store.close()
