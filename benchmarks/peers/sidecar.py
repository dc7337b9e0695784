"""The product as an operator runs it: `sidecar serve`, embedded store, metering, every event folded."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.load.request import OPENAI_CHAT, Request
from benchmarks.peers.peer import HUB_KEY, Peer, Site, free_port
from benchmarks.processes import Processes, wait_for
from sidecar.keys.record import Key
from sidecar.keys.repository import KeyRepository
from sidecar.keys.setup import prepare
from sidecar.settings.load import load
from sidecar.store.client import connect

ROOT = Path(__file__).resolve().parents[2]
COMPILED = ROOT / "build" / "sidecar"
"""Where `make compile` puts what an image runs; where it is not, the source runs."""
FOLDED_WITHIN = 60.0
AT_ONCE = 500


class Sidecar(Peer):
    """This project."""

    name: ClassVar[str] = "sidecar"
    title: ClassVar[str] = "sidecar, everything on"
    command: ClassVar[str] = "serve"
    listening: ClassVar[str] = "SIDECAR_PROXY__LISTEN"
    module: ClassVar[str] = "sidecar"
    path: ClassVar[str] = str(COMPILED)

    def __init__(self, site: Site, profile: str = "aigne", workers: int = 1) -> None:
        super().__init__(site)
        self.profile = profile
        self.workers = workers
        self.directory = site.directory / f"{self.name}-{profile}-{workers}"
        self.processes = Processes(site.cores.proxy, self.directory)
        self._admin = f"127.0.0.1:{free_port()}"
        self._metrics = f"127.0.0.1:{free_port()}"
        self._many: list[str] = []
        data_dir = self.directory / "data"
        self._settings = {
            "SIDECAR_HUB__URL": f"http://{self.hub}/",
            "SIDECAR_HUB__PROFILE": profile,
            "SIDECAR_HUB__ACCESS_KEY": HUB_KEY,
            self.listening: self.url.removeprefix("http://"),
            "SIDECAR_PROXY__WORKERS": str(workers),
            "SIDECAR_ADMIN__LISTEN": self._admin,
            "SIDECAR_METRICS__LISTEN": self._metrics,
            "SIDECAR_KEYS__PEPPER_FILE": str(data_dir / "pepper"),
            "SIDECAR_DATA_DIR": str(data_dir),
        }
        self.ready_after = 0.0
        """Seconds from the start of the command to the first 200 of /readyz."""

    def launch(self) -> None:
        began = time.monotonic()
        self.processes.start(
            _role,
            [sys.executable, "-m", self.module, self.command],
            self._settings | {"PYTHONPATH": self.path, "PYTHONSAFEPATH": "1"},
        )
        wait_for(self._is_ready, "readiness of the sidecar")
        self.ready_after = time.monotonic() - began
        self.key = self.create_key()

    def probe(self) -> Request:
        request = super().probe()
        return Request("POST", OPENAI_CHAT, request.body) if self.profile == "openai" else request

    def settle(self) -> None:
        wait_for(self._is_folded, "the last event in the store", FOLDED_WITHIN, 0.1)

    def create_key(self, **fields: object) -> str:
        """A new key; the answer is its secret."""
        secret: str = self.admin("POST", "/keys", {"name": "benchmark", **fields})["secret"]
        return secret

    def create_revoked_key(self) -> str:
        """A key that is refused although its secret is known."""
        made = self.admin("POST", "/keys", {"name": "revoked"})
        self.admin("POST", f"/keys/{made['key']['id']}/revoke")
        secret: str = made["secret"]
        return secret

    def create_keys(self, count: int) -> tuple[str, ...]:
        """Many keys; what was made before is used again."""
        missing = count - len(self._many)
        if missing > 0:
            self._many += asyncio.run(_create(self._settings, missing))
        return tuple(self._many[:count])

    def admin(self, method: str, path: str, body: object = None) -> Any:
        """A call of the admin API; its JSON."""
        token = (self.directory / "data" / "admin-token").read_text().strip()
        data = None if body is None else json.dumps(body).encode()
        fields = {"Authorization": f"Bearer {token}"} | ({"Content-Type": "application/json"} if data else {})
        request = urllib.request.Request(f"http://{self._admin}/admin/v1{path}", data, fields, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def _is_ready(self) -> bool:
        self.processes.check()
        with urllib.request.urlopen(f"http://{self._metrics}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)

    def _is_folded(self) -> bool:
        self.processes.check()
        return not self.admin("GET", "/status")["spool"]["backlog_bytes"]


class Unmetered(Sidecar):
    """The same build with its metering taken out: see `benchmarks.unmetered`."""

    name: ClassVar[str] = "unmetered"
    title: ClassVar[str] = "sidecar, metering taken out"
    module: ClassVar[str] = "benchmarks.unmetered"
    path: ClassVar[str] = os.pathsep.join((str(COMPILED), str(ROOT)))


def _role(command: str) -> str:
    """The name of one of its processes."""
    if "valkey-server" in command or "redis-server" in command:
        return "store"
    words = command.split()
    return words[words.index("--index") - 1] if "--index" in words else "supervisor"


async def _create(environment: dict[str, str], count: int) -> list[str]:
    """Keys written straight to the store: a hundred thousand calls of the admin API would take minutes."""
    settings = load(None, environment)
    setup = prepare(settings)
    store = await connect(settings.store, Path(settings.data_dir), timeout=30.0)
    try:
        repository = KeyRepository(store, setup.adoption, setup.digester)
        shape = Key("", "benchmark", 0.0)
        tokens: list[str] = []
        while len(tokens) < count:
            batch = min(AT_ONCE, count - len(tokens))
            tokens += [issued.token for issued in await asyncio.gather(*(repository.create(shape) for _ in range(batch)))]
        return tokens
    finally:
        await store.close()
