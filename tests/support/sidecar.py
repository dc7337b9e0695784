"""A whole sidecar for a test: `sidecar serve` on free ports, with its embedded store or one that the test owns."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.ports import free_ports
from tests.support.waiting import wait_until as wait_until

START_WITHIN = 60.0
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "SSL_CERT_FILE")


class Answer:
    """What an HTTP call brought, whatever its status."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


def call(method: str, url: str, body: object = None, headers: dict[str, str] | None = None, *, timeout: float = 30) -> Answer:
    """One HTTP exchange; `body` is JSON unless it is bytes."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    fields = {"Content-Type": "application/json"} if data is not None else {}
    request = urllib.request.Request(url, data, fields | (headers or {}), method=method)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, {name.lower(): value for name, value in error.headers.items()}, error.read())


class Sidecar:
    """`sidecar serve` as a child process. Use as a context manager."""

    command = "serve"

    def __init__(self, directory: Path, hub_url: str, access_key: str, **environment: str) -> None:
        """`environment` has further settings, as `proxy__workers="2"`."""
        proxy, admin, metrics = free_ports(3)
        self.url = f"http://127.0.0.1:{proxy}"
        self.admin_url = f"http://127.0.0.1:{admin}"
        self.metrics_url = f"http://127.0.0.1:{metrics}"
        self.data_dir = directory / "data"
        self.log = directory / "sidecar.log"
        settings = {
            "hub__url": hub_url,
            "hub__access_key": access_key,
            "proxy__listen": f"127.0.0.1:{proxy}",
            "admin__listen": f"127.0.0.1:{admin}",
            "metrics__listen": f"127.0.0.1:{metrics}",
            "keys__pepper_file": str(self.data_dir / "pepper"),
            "proxy__drain_timeout": "2s",
            **environment,
        }
        self.environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        self.environment |= {f"SIDECAR_{name.upper()}": value for name, value in settings.items()}
        self.environment["SIDECAR_DATA_DIR"] = str(self.data_dir)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Sidecar:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, *, wait: bool = True) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sidecar", self.command], env=self.environment, stdout=log, stderr=log, cwd=self.data_dir.parent
            )
        if wait:
            wait_until(self.is_ready, within=START_WITHIN, what=f"readiness ({self.log})")

    def is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the sidecar ended: {self.log.read_text()[-2000:]}")
        return call("GET", f"{self.metrics_url}/readyz").status == 200

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    @property
    def admin_token(self) -> str:
        return (self.data_dir / "admin-token").read_text().strip()

    def admin(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """A call of the admin API with the first admin token."""
        fields = {"Authorization": f"Bearer {self.admin_token}"} | {name.replace("_", "-"): value for name, value in headers.items()}
        return call(method, f"{self.admin_url}/admin/v1{path}", body, fields)

    def create_key(self, **fields: object) -> tuple[str, str]:
        """A new key: its id and its secret."""
        answer = self.admin("POST", "/keys", {"name": "test", **fields})
        assert answer.status == 201, answer.body
        return answer.json["key"]["id"], answer.json["secret"]

    def ask(self, secret: str, path: str = "/api/v2/chat", body: object = None, *, method: str = "POST", **headers: str) -> Answer:
        """A call of the data plane; without `body` a short chat."""
        if body is None and method == "POST":
            body = {"input": {"messages": [{"role": "user", "content": "Hi"}], "modelOptions": {"model": "openai/gpt-5-mini"}}}
        fields = {"Authorization": f"Bearer {secret}"} | {name.replace("_", "-"): value for name, value in headers.items()}
        return call(method, f"{self.url}{path}", body, fields)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all series of `name` that have `labels`."""
        total = 0.0
        for line in call("GET", f"{self.metrics_url}/metrics").body.decode().splitlines():
            if line.startswith((f"{name}{{", f"{name} ")) and all(f'{label}="{value}"' in line for label, value in labels.items()):
                total += float(line.rpartition(" ")[2])
        return total

    def children(self, role: str) -> list[int]:
        """Process ids of the supervisor's children: `worker`, `control` or `store`."""
        assert self.process is not None
        found = []
        for pid in _children_of(self.process.pid):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError):
                # It has ended since it was listed.
                continue
            if f"sidecar.child {role} " in command or (role == "store" and "valkey-server" in command):
                found.append(pid)
        return found


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _children_of(parent: int) -> list[int]:
    tasks = Path(f"/proc/{parent}/task")
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]
