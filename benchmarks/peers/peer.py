"""What every proxy in the comparison can do: be started on its core, be asked, be counted, be ended."""

from __future__ import annotations

import secrets
import socket
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks.cores import Cores
from benchmarks.load.request import Request
from benchmarks.processes import Processes, wait_for

HUB_KEY = "benchmark-hub-key"
"""What the hub is sent instead of the client's key."""


@dataclass(frozen=True)
class Site:
    """Where peers run."""

    directory: Path
    cores: Cores
    hub_port: int
    programs: Path
    """The directory with the programs that a package index has: envoy, traefik, caddy."""


class Peer(ABC):
    """A proxy that checks a bearer key and forwards to the hub."""

    name: ClassVar[str]
    """Short, for the command line and the results."""
    title: ClassVar[str]
    """What it is, for tables."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.directory = site.directory / self.name
        self.port = free_port()
        self.key = "benchkey" + secrets.token_hex(20)
        self.processes = Processes(site.cores.proxy, self.directory)
        self._answered = 0
        self.at_start = 0.0
        """Bytes of anonymous memory of all its processes after its first answer."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def hub(self) -> str:
        """Host and port of the hub."""
        return f"127.0.0.1:{self.site.hub_port}"

    def missing(self) -> str:
        """Why it cannot run here; nothing when it can."""
        return ""

    @abstractmethod
    def launch(self) -> None:
        """Start its processes."""

    def start(self) -> None:
        """Start, and see that it lets the key through and nobody else. Raises RuntimeError or TimeoutError."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.launch()
        try:
            wait_for(self._accepts, f"a 200 from {self.url}")
        except TimeoutError as error:
            raise TimeoutError(f"{error}; the last answer was {self._answered}; its logs: {self.processes.logs()}") from None
        refused = ask(self.url, self.probe().with_keys("benchkey-of-nobody"))
        if not 400 <= refused <= 403:
            raise RuntimeError(f"{self.title} answers a wrong key with {refused}: it checks nothing")
        self.at_start = sum(self.processes.anonymous().values())

    def _accepts(self) -> bool:
        self.processes.check()
        self._answered = ask(self.url, self.probe().with_keys(self.key))
        return self._answered == 200

    def probe(self) -> Request:
        """A request that it must answer with 200."""
        return Request("POST", "/api/v2/chat/completions", b'{"model":"openai/gpt-5-mini","messages":[]}')

    def settle(self) -> None:  # noqa: B027  # most have nothing to wait for
        """Wait until all work that the requests so far have caused is done."""

    def stop(self) -> None:
        """End its processes."""
        self.processes.stop()


def ask(url: str, request: Request, timeout: float = 5.0) -> int:
    """Send `request` once; the status."""
    asked = urllib.request.Request(url + request.target, request.body or None, request.headers(request.keys[0]), method=request.method)
    try:
        with urllib.request.urlopen(asked, timeout=timeout) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
