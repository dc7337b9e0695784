"""`sidecar serve`: everything is checked first, then the supervisor runs until it is told to stop."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sidecar import log
from sidecar.cli import config_file, configuration
from sidecar.cli.errors import CommandError
from sidecar.settings import Settings
from sidecar.supervisor import data_dir, embedded_store, hardening, listeners
from sidecar.supervisor.process import Launcher, PythonLauncher
from sidecar.supervisor.run import Supervisor

CHILD = (sys.executable, "-P", "-m", "sidecar.child")
"""How a child is started; -P keeps the working directory off its module path."""


def add(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "serve",
        help="run the sidecar",
        description="Run the sidecar until SIGTERM or SIGINT, which drain; a second one hurries. SIGHUP reloads the configuration.",
    )
    config_file.add_option(parser)


def run(args: argparse.Namespace) -> int:
    """Serve; returns 0 after an orderly stop."""
    return supervise(lambda: configuration.read(args.config, os.environ), PythonLauncher(CHILD, os.environ))


def supervise(read: Callable[[], Settings], launch: Launcher, listening: str = "proxy.listen") -> int:
    """Run what `launch` starts with the settings that `read` brings, now and at each reload.

    `listening` is the setting that `proxy.listen` of these settings comes from.
    """
    settings = read()
    log.setup(settings.log.level, "supervisor")
    hardening.apply()
    try:
        fds = claim(settings, listening)
    except (data_dir.DataDirError, listeners.ListenError, embedded_store.NoServerError) as error:
        raise CommandError(str(error)) from None
    supervisor = Supervisor(settings, launch, reload=read, fds=fds)
    try:
        return supervisor.run()
    finally:
        if settings.proxy.listen.path:
            Path(settings.proxy.listen.path).unlink(missing_ok=True)


def claim(settings: Settings, listening: str = "proxy.listen") -> Mapping[str, Mapping[str, int]]:
    """Take what the sidecar needs for itself; returns the descriptors that children of each role inherit.

    Raises DataDirError, ListenError and NoServerError.
    """
    directory = Path(settings.data_dir)
    data_dir.prepare(directory)
    lock = data_dir.lock(directory)
    places = {listening: settings.proxy.listen, "admin.listen": settings.admin.listen, "metrics.listen": settings.metrics.listen}
    for name, listen in places.items():
        listeners.check(name, listen)
    if settings.store.url == "embedded":
        embedded_store.find_server()
    # The store holds the lock too: after a kill of the supervisor it may live a moment longer, with its file open.
    fds = {"store": {"lock": lock}}
    if settings.proxy.listen.path:
        fds["worker"] = {"listen": listeners.unix_socket(settings.proxy.listen).detach()}
    return fds
