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
from pathlib import Path

import psutil

from tests.failures.logs import assert_clean
from tests.support.hammer import hammer
from tests.support.raw_hub import RawHubProcess
from tests.support.sidecar import Sidecar, wait_until
from tests.support.tools import require

PATIENCE = 30.0


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
