"""Load from many threads, and what came of it."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from typing import NamedTuple

from tests.support.sidecar import Sidecar


class Answered(NamedTuple):
    """One call under load; times are monotonic seconds."""

    asked: float
    came: float
    secret: str
    status: int


class Load:
    """Threads that call with some keys in turn for as long as the block lasts, `pause` seconds between two calls."""

    def __init__(self, sidecar: Sidecar, *secrets: str, threads: int = 2, pause: float = 0.01) -> None:
        self._sidecar = sidecar
        self._secrets = secrets
        self._pause = pause
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        self._counts: Counter[int] = Counter()
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
        """How many answers of `status` there were until now."""
        return self._counts[status]

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
                self._counts[answer.status] += 1
                self.answers.append(Answered(asked, time.monotonic(), secret, answer.status))
            time.sleep(self._pause)
