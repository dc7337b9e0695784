"""Nothing that a client saw finished is lost and nothing is counted twice, whatever process is killed."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub import ACCESS_KEY, HubProcess, hub_process
from tests.support.sidecar import Sidecar, wait_until

ROUNDS = int(os.environ.get("SIDECAR_TEST_CRASH_ROUNDS", "6"))
"""More by `make crash-test`."""


@pytest.fixture
def hub() -> Iterator[HubProcess]:
    with hub_process() as hub:
        yield hub


class Load:
    """Threads that call with one key and count what they saw finished."""

    def __init__(self, sidecar: Sidecar, secret: str, threads: int) -> None:
        self._sidecar = sidecar
        self._secret = secret
        self._stop = threading.Event()
        self.finished = 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                status = self._sidecar.ask(self._secret).status
            except OSError:
                continue
            if status == 200:
                with self._lock:
                    self.finished += 1


def test_kill_nine_loses_nothing(hub: HubProcess, tmp_path: Path) -> None:
    chance = random.Random(11)
    with Sidecar(tmp_path, hub.url, ACCESS_KEY, proxy__workers="2") as sidecar:
        key_id, secret = sidecar.create_key()
        seen_by_clients = 0
        for number in range(ROUNDS):
            victim = ("worker", "control", "store")[number % 3]
            with Load(sidecar, secret, 4) as load:
                wait_until(lambda: load.finished > 20, within=20, what="load")
                os.kill(chance.choice(sidecar.children(victim)), signal.SIGKILL)
                before = load.finished
                wait_until(lambda: load.finished > before + 20, within=20, what=f"recovery from a killed {victim}")  # noqa: B023
            seen_by_clients += load.finished
        wait_until(sidecar.is_ready, within=20)
        seen_by_hub = sum(request["complete"] for request in hub.requests())

        def ledger() -> int:
            return int(sidecar.admin("GET", f"/keys/{key_id}/usage").json["totals"]["requests"])

        def metric() -> float:
            return sidecar.metric("sidecar_key_requests_total", key_id=key_id, outcome="ok")

        wait_until(lambda: ledger() >= seen_by_clients and metric() >= seen_by_clients, within=10, what="the count")
        refused = sidecar.metric("sidecar_key_requests_total", key_id=key_id) - metric()
        assert seen_by_clients <= ledger() - refused <= seen_by_hub
        assert seen_by_clients <= metric() <= seen_by_hub
