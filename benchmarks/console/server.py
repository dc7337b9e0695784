"""What a screen costs the server, without a browser: time until its page is there, processor time, commands to the store.

Processor time is what stays comparable on a machine that does other things as well.
"""

from __future__ import annotations

import http.client
import statistics
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from tests.support.sidecar import Sidecar, wait_until
from tests.support.store import Server


@dataclass(frozen=True, slots=True)
class Cost:
    """One page; the median of several times, milliseconds but for `commands` and `size`."""

    wall: float
    control: float
    store: float
    commands: float
    size: int
    """Bytes of the page, without its assets."""

    def __str__(self) -> str:
        return f"{self.wall:9.1f} ms {self.control:9.1f} ms {self.store:9.1f} ms {self.commands:9.0f} {self.size / 1000:9.1f} kB"


REST_WITHIN, REST_SECONDS, REST_SHARE = 1200.0, 5.0, 0.05
"""Control process and store rest when they take less than this share of a core over so many seconds."""
HEADINGS = f"{'answer':>12} {'control':>12} {'store':>12} {'commands':>9} {'page':>12}"


class Visitor:
    """A signed-in person without a browser, on one connection. Use as a context manager."""

    def __init__(self, sidecar: Sidecar, store: Server) -> None:
        self._store = store
        assert store.process is not None
        (control,) = sidecar.children("control")
        self._pids = (control, store.process.pid)
        self._connection = http.client.HTTPConnection(urlsplit(sidecar.admin_url).netloc, timeout=60)
        self._cookie = self._sign_in(sidecar.admin_token)

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def open(self, path: str) -> bytes:
        """The page at `path`; RuntimeError unless it opens."""
        status, page = self._get(path)
        if status != 200:
            raise RuntimeError(f"{path} was answered with {status}")
        return page

    def _get(self, path: str) -> tuple[int, bytes]:
        self._connection.request("GET", path, headers={"Cookie": self._cookie})
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def cost(self, path: str, rounds: int) -> Cost:
        """Open `path` to warm up, until the store is not too busy with what was just filled in, and then `rounds` times."""
        wait_until(lambda: self._get(path)[0] != HTTPStatus.SERVICE_UNAVAILABLE, within=30, what=path)
        found = []
        for _ in range(rounds):
            control, store, commands, begun = *self._spent(), self._commands(), time.perf_counter()
            size = len(self.open(path))
            wall = time.perf_counter() - begun
            now = self._spent()
            found.append((1e3 * wall, now[0] - control, now[1] - store, self._commands() - commands - 1, size))
        wall, control, store, commands, size = (statistics.median(column) for column in zip(*found, strict=True))
        return Cost(wall, control, store, commands, int(size))

    def wait_for_rest(self) -> None:
        """Until a month that came within a minute has been looked at for anomalies too, which is done at leisure."""
        wait_until(self._rests, within=REST_WITHIN, what="the control process to be at rest")

    def _rests(self) -> bool:
        before = sum(self._spent())
        time.sleep(REST_SECONDS)
        return sum(self._spent()) - before < REST_SHARE * REST_SECONDS * 1e3

    def _sign_in(self, token: str) -> str:
        form = urlencode({"token": token, "next": "/system"})
        self._connection.request("POST", "/sign-in", form, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = self._connection.getresponse()
        answer.read()
        if answer.status != 303:
            raise RuntimeError(f"signing in was answered with {answer.status}")
        return (answer.getheader("Set-Cookie") or "").partition(";")[0]

    def _spent(self) -> tuple[float, float]:
        control, store = self._pids
        return _milliseconds(control), _milliseconds(store)

    def _commands(self) -> int:
        """Commands that the store has executed, those of scripts included."""
        lines = self._store.command("INFO", "stats").decode().splitlines()
        return next(int(line.partition(":")[2]) for line in lines if line.startswith("total_commands_processed:"))


def _milliseconds(pid: int) -> float:
    """Time on a processor so far, all threads: unlike /proc/PID/stat this counts nanoseconds."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6
