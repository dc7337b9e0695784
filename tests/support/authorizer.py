"""A whole authorizer for a test: `sidecar authz`, and questions put to it as a proxy would."""

from __future__ import annotations

from pathlib import Path

from tests.support.ports import free_port
from tests.support.sidecar import Sidecar


class Authorizer(Sidecar):
    """`sidecar authz` as a child process; `url` is where it answers questions, unless that is a unix socket."""

    command = "authz"

    def __init__(self, directory: Path, hub_url: str, access_key: str, *, socket: str = "", **environment: str) -> None:
        self.port = free_port()
        listen = f"unix://{socket}" if socket else f"127.0.0.1:{self.port}"
        super().__init__(directory, hub_url, access_key, authz__listen=listen, **environment)
        self.url = f"http://127.0.0.1:{self.port}"
