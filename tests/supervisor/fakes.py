"""The real supervisor with fake children, as a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from sidecar.supervisor import status
from tests.support.ports import free_port
from tests.support.source import ROOT


class Sidecar:
    """A supervisor with fake children, and what they noted."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "sidecar.yaml"
        self.data_dir = directory / "data"
        self.port, self.admin, self.metrics = free_port(), free_port(), free_port()
        self._events = directory / "events"
        self._output = directory / "stderr"
        self._process: subprocess.Popen[bytes] | None = None

    def configure(
        self, *, realm: str = "first", workers: int = 1, behaviour: str = "good", store: str = "embedded", more: str = ""
    ) -> None:
        self.file.write_text(
            f"data_dir: {self.data_dir}\nhub: {{access_key: {behaviour}}}\nadmin: {{listen: 127.0.0.1:{self.admin}}}\n"
            f"metrics: {{listen: 127.0.0.1:{self.metrics}}}\nstore: {{url: {store}}}\n"
            f"proxy: {{listen: 127.0.0.1:{self.port}, workers: {workers}, realm: {realm}, drain_timeout: 300ms}}\n{more}"
        )

    def start(self) -> None:
        self.close()
        command = [sys.executable, "-m", "tests.supervisor.harness", str(self.file), str(self._events)]
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(command, cwd=ROOT, stderr=output, start_new_session=True)

    def wait(self) -> int:
        assert self._process is not None
        return self._process.wait(30)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def output(self) -> str:
        return self._output.read_text()

    def events(self, role: str = "", what: str = "") -> list[list[str]]:
        """The lines `role, index, pid, what …` of the children's log that match."""
        lines = self._events.read_text().splitlines() if self._events.exists() else []
        parts = [line.split(maxsplit=3) for line in lines]
        return [part for part in parts if part[0].startswith(role) and part[3].startswith(what)]

    def order(self) -> list[str]:
        return [f"{role} {what}" for role, _, _, what in self.events()]

    def pids(self, role: str) -> list[int]:
        """Live children of `role`, the embedded store included."""
        found = status.read(self.data_dir)
        return [child.pid for child in found.children if child.role == role and child.pid] if found else []


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def ping(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        if client.connect_ex(str(path)) != 0:
            return False
        client.sendall(b"PING\r\n")
        return client.recv(16).startswith(b"+PONG")
