"""The demo hub as the stand-in behind a sidecar under test: in the test's own loop, or as a process of its own."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.demo.access_key import ACCESS_KEY
from sidecar.demo.hub import RECORD_PATH, DemoHub, Options

__all__ = ["ACCESS_KEY", "DemoHub", "HubProcess", "Options", "hub_process", "running_hub"]


@asynccontextmanager
async def running_hub(options: Options | None = None, *, unix: Path | None = None) -> AsyncIterator[DemoHub]:
    """A hub in this event loop, on a free loopback port or the socket `unix`; `.url` and `.requests` tell of it."""
    hub = DemoHub(options)
    await hub.start(unix=unix)
    try:
        yield hub
    finally:
        await hub.stop()


@dataclass(frozen=True)
class HubProcess:
    """A hub in another process."""

    url: str
    process: subprocess.Popen[str]

    def requests(self) -> list[dict[str, Any]]:
        """What it has received: method, target, head, body (bytes), length, sha256, complete."""
        with urllib.request.urlopen(self._record_url, timeout=30) as answer:
            recorded: list[dict[str, Any]] = json.load(answer)
        return [{**one, "body": base64.b64decode(one["body"])} for one in recorded]

    def clear(self) -> None:
        """Forget what it has received."""
        urllib.request.urlopen(urllib.request.Request(self._record_url, method="DELETE"), timeout=30).close()

    @property
    def _record_url(self) -> str:
        return "/".join(self.url.split("/")[:3]) + RECORD_PATH


@contextmanager
def hub_process(*arguments: str) -> Iterator[HubProcess]:
    """`python -m sidecar.demo.hub` on a free port, with further `arguments`; streams have no delay unless they say so."""
    command = [sys.executable, "-m", "sidecar.demo.hub", "--port", "0", "--delay", "0", "--record", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().rpartition(" ")[2].strip()
            assert url, "the demo hub did not start"
            yield HubProcess(url, process)
        finally:
            process.terminate()
