"""`sidecar demo`: a demo hub, the sidecar before it, and one line to paste.

It runs what `sidecar serve` runs, with a configuration of its own, and makes the key through the admin API
like anybody else.
"""

from __future__ import annotations

import argparse
import http.client
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import yaml
from msgspec.structs import replace

from sidecar.cli import configuration
from sidecar.cli.admin import address
from sidecar.cli.admin.api import AdminApi
from sidecar.cli.demo_text import banner
from sidecar.cli.errors import CommandError
from sidecar.demo.access_key import ACCESS_KEY
from sidecar.hubs.protocol import protocol_named
from sidecar.settings import Settings
from sidecar.settings.values import Listen
from sidecar.supervisor import data_dir
from sidecar.supervisor.lifeline import die_with_parent
from sidecar.supervisor.listeners import fault_of
from sidecar.supervisor.process import with_package_path

HOST = "127.0.0.1"
PORTS = {"proxy": 8080, "admin": 8081, "metrics": 9464}
HUB_PORT = 3000
FILE = "demo.yaml"
_PATIENCE = 60.0
_TRIES = 200


class Stopped(Exception):
    """The demo was told to end."""


def add(subparsers: Any) -> None:
    """Add the command."""
    subparsers.add_parser(
        "demo",
        help="show everything at once: demo hub, sidecar, console",
        description="Run a demo hub, the sidecar and its console on the default ports or the next free ones. "
        "With HUB_URL (and HUB_ACCESS_KEY) set the sidecar stands before that hub instead. "
        "Data are kept in SIDECAR_DATA_DIR, or else in a private directory that goes away with the demo.",
    )


def run(args: argparse.Namespace) -> int:  # noqa: ARG001 - the demo has no options
    """Run until Ctrl-C; returns 0 then, and raises CommandError when something does not start or stops by itself."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        with _directory(os.environ) as directory:
            _demo(directory, os.environ)
    except Stopped:
        print("The demo has ended.", flush=True)
    return 0


def _demo(directory: Path, environment: Mapping[str, str]) -> None:
    hub_port = free_port(HUB_PORT, ())
    file = directory / FILE
    file.write_text(yaml.safe_dump(plan(directory, environment, hub_port), sort_keys=False))
    settings = configuration.read(str(file), environment)
    commands = [[sys.executable, "-P", "-m", "sidecar", "serve", "-c", str(file)]]
    if not environment.get("HUB_URL"):
        protocol = protocol_named(settings.hub.profile) or "aigne"
        commands.insert(0, [sys.executable, "-P", "-m", "sidecar.demo.hub", "--port", str(hub_port), "--protocol", protocol])
    with _processes(commands, with_package_path(environment)) as all_run:
        _wait_until_ready(settings, all_run)
        # Whoever pastes its lines does so in another terminal, which stands in another directory.
        shown = replace(settings, data_dir=os.path.abspath(settings.data_dir))
        print(banner(shown, _make_key(settings), _command()), flush=True)
        while True:
            all_run()
            time.sleep(0.2)


def plan(directory: Path, environment: Mapping[str, str], hub_port: int) -> dict[str, Any]:
    """The configuration of the demo; the environment outranks it as always."""
    hub: dict[str, str] = {"url": f"http://{HOST}:{hub_port}/", "access_key": ACCESS_KEY}
    if environment.get("HUB_URL"):
        hub = {"url": "${HUB_URL}", "access_key": "${HUB_ACCESS_KEY}" if "HUB_ACCESS_KEY" in environment else ""}
    found: dict[str, Any] = {"hub": hub}
    taken: list[int] = [hub_port]
    for section, port in PORTS.items():
        taken.append(free_port(port, taken))
        found[section] = {"listen": f"{HOST}:{taken[-1]}"}
    found["proxy"]["drain_timeout"] = "2s"  # whoever ends a demo does not want to wait for it
    return {**found, "log": {"level": "warning"}, "data_dir": str(directory)}


def free_port(first: int, taken: Sequence[int]) -> int:
    """The first port from `first` on that nobody listens on and that is not `taken`."""
    ports = range(first, min(first + _TRIES, 65536))
    for port in ports:
        if port not in taken and fault_of(Listen.parse(f"{HOST}:{port}")) is None:
            return port
    raise CommandError(f"no free port from {first} to {ports[-1]}; stop what listens there")


@contextmanager
def _directory(environment: Mapping[str, str]) -> Iterator[Path]:
    """Where the demo keeps its data."""
    named = environment.get("SIDECAR_DATA_DIR")
    directory = Path(named) if named else Path(tempfile.mkdtemp(prefix="sidecar-demo-"))
    try:
        try:
            data_dir.prepare(directory)
        except data_dir.DataDirError as error:
            raise CommandError(str(error)) from None
        yield directory
    finally:
        if not named:
            shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _processes(commands: Sequence[Sequence[str]], environment: Mapping[str, str]) -> Iterator[Callable[[], None]]:
    """Run `commands`; yields a check that raises CommandError when one has ended. They end in reverse order."""
    started: list[subprocess.Popen[bytes]] = []

    def check() -> None:
        for command, process in zip(commands, started, strict=True):
            if process.poll() is not None:
                raise CommandError(f"{command[3]} ended by itself with exit code {process.returncode}; what it said stands above")

    try:
        for command in commands:
            # A group of its own keeps Ctrl-C away: the sidecar must drain before its hub goes.
            dying = partial(die_with_parent, os.getpid(), signal.SIGTERM)
            started.append(subprocess.Popen(command, env=dict(environment), process_group=0, preexec_fn=dying))  # noqa: S603
        yield check
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()


def _wait_until_ready(settings: Settings, all_run: Callable[[], None]) -> None:
    end = time.monotonic() + _PATIENCE
    while not _is_ready(settings.metrics.listen):
        all_run()
        if time.monotonic() > end:
            raise CommandError(f"the sidecar is not ready after {_PATIENCE:.0f} s; run `sidecar doctor -c {settings.data_dir}/{FILE}`")
        time.sleep(0.05)


def _is_ready(listen: Listen) -> bool:
    connection = http.client.HTTPConnection(listen.host, listen.port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _command() -> str:
    """How a shell starts this program: `make run` puts it into an environment that is not on PATH."""
    beside = Path(sys.executable).parent / "sidecar"
    found = shutil.which("sidecar")
    if found is not None and beside.exists() and Path(found).samefile(beside):
        return "sidecar"
    return shlex.quote(str(beside)) if beside.exists() else f"{shlex.quote(sys.executable)} -m sidecar"


def _make_key(settings: Settings) -> str:
    where = address.parse(f"http://{settings.admin.listen}")
    with AdminApi(where, lambda: address.find_token(None, {}, Path(settings.data_dir))) as api:
        answer = api.send("POST", "/keys", {"name": "demo", "tags": ["demo"]})
    return str(answer["secret"])


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the shape of a signal handler
    # Once is enough: a second Ctrl-C must not interrupt the orderly end, after which nothing is left behind.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise Stopped
