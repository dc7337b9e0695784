"""Load while a store fails over, and what its servers say of it."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

from sidecar.settings.declaration import Store
from tests.support.cluster import cluster, cluster_settings
from tests.support.sidecar import Sidecar, wait_until
from tests.support.store import Server

BACK_WITHIN = 5.0
"""Seconds in which requests are promised to be admitted again."""
BUSY = 30.0
"""Seconds that a loaded machine may take for what is not promised."""
_PAUSE = 0.01


class Answered(NamedTuple):
    """One call under load; times are monotonic seconds."""

    asked: float
    came: float
    secret: str
    status: int


class Load:
    """Threads that call with some keys in turn for as long as the block lasts."""

    def __init__(self, sidecar: Sidecar, *secrets: str, threads: int = 2) -> None:
        self._sidecar = sidecar
        self._secrets = secrets
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        self.answers: list[Answered] = []

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def count(self, status: int) -> int:
        with self._lock:
            return sum(answer.status == status for answer in self.answers)

    def statuses(self) -> set[int]:
        return {answer.status for answer in self.answers}

    def longest_gap(self, status: int) -> float:
        """The longest time without an answer of `status`."""
        moments = sorted(answer.came for answer in self.answers if answer.status == status)
        return max(later - earlier for earlier, later in itertools.pairwise(moments))

    def _run(self) -> None:
        for secret in itertools.cycle(self._secrets):
            if self._stop.is_set():
                return
            asked = time.monotonic()
            try:
                answer = self._sidecar.ask(secret)
            except OSError:
                continue
            with self._lock:
                self.answers.append(Answered(asked, time.monotonic(), secret, answer.status))
            time.sleep(_PAUSE)


def served(sidecar: Sidecar, key_id: str) -> int:
    """The requests of a key that were served, by the ledger."""
    usage = sidecar.admin("GET", f"/keys/{key_id}/usage?group_by=outcome").json
    return sum(group["totals"]["requests"] for group in usage["groups"] if group["by"] == "ok")


@contextlib.asynccontextmanager
async def clustered(directory: Path) -> AsyncIterator[tuple[list[Server], Store]]:
    async with cluster(directory, replicas=True) as servers:
        yield servers, cluster_settings(servers)


def wait_for_replication(server: Server, line: bytes) -> None:
    wait_until(lambda: line in server.command("INFO", "replication"), within=BUSY, what=f"{line.decode()} of {server.directory.name}")
