"""HAProxy with the keys in a map file."""

from __future__ import annotations

import shutil
from typing import ClassVar

from benchmarks.peers.peer import HUB_KEY, Peer

_CONFIGURATION = """
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 3s
  timeout client 300s
  timeout server 300s
  option http-no-delay
frontend clients
  bind 127.0.0.1:{port}
  http-request set-var(txn.owner) http_auth_bearer,map({map})
  http-request deny deny_status 401 if !{{ var(txn.owner) -m found }}
  http-request set-header Authorization "Bearer {hub_key}"
  default_backend hub
backend hub
  http-reuse always
  server hub {hub}
"""


class HaProxy(Peer):
    """Keys as text, known from the start."""

    name: ClassVar[str] = "haproxy"
    title: ClassVar[str] = "HAProxy, map file"

    def missing(self) -> str:
        return "" if _program() else "HAProxy is not installed; Debian has it as the package haproxy"

    def launch(self) -> None:
        owners = self.directory / "keys.map"
        owners.write_text(f"{self.key} benchmark\n")
        configuration = self.directory / "haproxy.cfg"
        configuration.write_text(_CONFIGURATION.format(port=self.port, map=owners, hub=self.hub, hub_key=HUB_KEY))
        self.processes.start("haproxy", [_program(), "-db", "-f", str(configuration)])


def _program() -> str:
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/sbin") or ""
