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

from sidecar.settings.load import load
from sidecar.worker.descriptors import RESERVE, fit
from tests.failures.logs import assert_clean
from tests.support.hammer import BROKEN, Told, count, hammer
from tests.support.raw_hub import RawHubProcess
from tests.support.sidecar import Sidecar, wait_until
from tests.support.tools import require

PATIENCE = 30.0
DESCRIPTORS = 160


def request(secret: str, path: str = "delay-2") -> bytes:
    return f"GET /v1/{path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\n\r\n".encode()


async def test_sigterm_under_load_refuses_nothing_that_it_accepted(hub: RawHubProcess, tmp_path: Path) -> None:
    """Whoever asked before the signal got a whole answer; what was answered is in the ledger after the next start."""
    with Sidecar(tmp_path, hub.url, "hub-key", hub__profile="generic", proxy__drain_timeout="30s") as sidecar:
        key_id, secret = await asyncio.to_thread(sidecar.create_key)
        assert sidecar.process is not None
        ended, under_load, streams = False, asyncio.Event(), asyncio.Event()

        def is_over(told: list[Told]) -> bool:
            if count(told) > 50:
                under_load.set()
            return ended

        # Those that take half a second are under way when the workers hear of it, which is some time after the supervisor.
        loads = [
            asyncio.create_task(hammer([sidecar.url], request(secret, path), connections=10, stop=is_over))
            for path in ("delay-2", "delay-500")
        ]
        before = asyncio.create_task(_whole_stream(sidecar, secret, streams))
        async with asyncio.timeout(PATIENCE):
            await under_load.wait()
            await streams.wait()
        told_to_end = time.time()
        sidecar.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(sidecar.process.wait, 60) == 0
        ended = True
        told = [one for load in loads for one in await load]
        await before
        # Who asks when it ends may find the connection closed.
        assert [one for one in told if one.status == BROKEN and one.sent < told_to_end] == []
        statuses = Counter(one.status for one in told if one.status != BROKEN)
        assert set(statuses) <= {200, 503}
        assert_clean(sidecar)
    with sidecar:
        wait_until(lambda: sidecar.admin("GET", f"/keys/{key_id}/usage").json["totals"]["requests"] >= statuses[200] + 1, within=PATIENCE)


async def _whole_stream(sidecar: Sidecar, secret: str, begun: asyncio.Event) -> None:
    host, port = sidecar.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request(secret, "stream-200"))
    await reader.readuntil(b"\r\n\r\n")
    begun.set()
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
    fitted = fit(load(None, {}), DESCRIPTORS).proxy.bounds.connections
    with Confined(tmp_path, hub.url, [prlimit, f"--nofile={DESCRIPTORS}:{DESCRIPTORS}"]) as sidecar:
        assert f"only {DESCRIPTORS} file descriptors: {fitted} client" in sidecar.log.read_text()
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
            # The span to measure in, all of which a worker that turns in a circle would use.
            time.sleep(2.0)
            assert sum(busy.cpu_times()[:2]) - before < 1.0, "the worker turns in a circle"
            # Whoever is too many is told so, and gone then; but for that, the kernel's own limit would hold.
            wait_until(lambda: busy.num_fds() <= fitted + RESERVE, within=PATIENCE, what="an end of those who are too many")
            # Unfinished requests make room for one that is whole.
            wait_until(lambda: sidecar.ask(secret, "/v1/x", {}).status == 200, within=PATIENCE)
        finally:
            for client in crowd:
                client.close()
        wait_until(lambda: sidecar.ask(secret, "/v1/x", {}).status == 200, within=PATIENCE)
        assert sidecar.metric("sidecar_spool_dropped_total") == 0
        assert_clean(sidecar)
