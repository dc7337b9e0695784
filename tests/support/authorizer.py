"""A whole authorizer for a test: `sidecar authz`, and questions put to it as a proxy would."""

from __future__ import annotations

from pathlib import Path

from tests.support.ports import free_port
from tests.support.sidecar import Sidecar


class Authorizer(Sidecar):
    """`sidecar authz` as a child process; `url` is where it answers questions."""

    command = "authz"

    def __init__(self, directory: Path, hub_url: str, access_key: str, **environment: str) -> None:
        self.port = free_port()
        super().__init__(directory, hub_url, access_key, authz__listen=f"127.0.0.1:{self.port}", **environment)
        self.url = f"http://127.0.0.1:{self.port}"
