"""`sidecar serve`: everything is checked first, then the supervisor runs until it is told to stop."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sidecar import log
from sidecar.cli import config_file, configuration
from sidecar.cli.errors import CommandError
from sidecar.hubs.protocol import protocol_named
from sidecar.keys.digest import Pepper, load, load_or_create
from sidecar.keys.pepper_files import pepper_faults, succession_faults, unmakeable
from sidecar.settings import Settings, SettingsError
from sidecar.settings.declaration import Keys
from sidecar.supervisor import data_dir, embedded_store, hardening, listeners
from sidecar.supervisor.control_sockets import ControlSockets, addresses
from sidecar.supervisor.process import Launcher, PythonLauncher
from sidecar.supervisor.run import Supervisor, catch_signals, nothing_to_end
from sidecar.supervisor.sockets import WorkerSockets

_log = logging.getLogger(__name__)

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
    return supervise(configuration.reader(args.config, os.environ), PythonLauncher(CHILD, os.environ))


def supervise(read: Callable[[], Settings], launch: Launcher, listening: str = "proxy.listen") -> int:
    """Run what `launch` starts with the settings that `read` brings, now and at each reload.

    `listening` is the setting that `proxy.listen` of these settings comes from.
    """
    # Before anything is waited for: SIGHUP would end this process, and as process 1 of a container it would not hear SIGTERM.
    wakeup = catch_signals()
    # A secret's file may be a pipe that nobody writes to, a lock or a port another's for a while: SIGTERM ends all of that.
    with nothing_to_end():
        settings = _without_faults(read(), pepper_faults)
        log.setup(settings.log.level, "supervisor")
        hardening.apply()
        try:
            fds, sockets, control_sockets = claim(settings, listening)
        except (data_dir.DataDirError, listeners.ListenError, embedded_store.NoServerError) as error:
            raise CommandError(str(error)) from None
        reload = Reload(read, settings, _pepper(settings))
    if not settings.hub.access_key and protocol_named(settings.hub.profile) == "aigne":
        # No fault, for a hub may be told to do without; but else every call would fail, and nothing here would say why.
        _log.warning("hub.access_key is empty, and an AIGNE Hub refuses every call without one; set hub.access_key or hub.access_key_file")
    supervisor = Supervisor(settings, launch, reload=reload, fds=fds, sockets=sockets, control_sockets=control_sockets)
    try:
        return supervisor.run(wakeup)
    finally:
        for listen in (settings.proxy.listen, *control_sockets.made):
            if listen.path:
                listeners.remove(listen)


def _without_faults(settings: Settings, find: Callable[[Keys], list[str]]) -> Settings:
    """`settings`; raises SettingsError with the faults that `find` finds in what they say of keys."""
    faults = find(settings.keys)
    if faults:
        raise SettingsError(faults)
    return settings


def _pepper(settings: Settings) -> Pepper:
    """The pepper, made at the very first start: a child that could not make it would end again and again. Raises CommandError."""
    file = settings.keys.pepper_file
    try:
        return load_or_create(Path(file))
    except OSError as error:
        raise CommandError(unmakeable(file, error.strerror or str(error))) from None


class Reload:
    """Reads the configuration for a sidecar that runs: its peppers must exist, and know the keys that those in use know."""

    def __init__(self, read: Callable[[], Settings], settings: Settings, pepper: Pepper) -> None:
        self._read = read
        self._in_use = pepper.id
        self._last = settings, pepper.id

    def __call__(self, running: Settings) -> Settings:
        """What there is to take over from the settings that run; raises SettingsError."""
        # What was read last may have been given up since.
        if running is self._last[0]:
            self._in_use = self._last[1]
        settings = self._read()
        if settings.data_dir != running.data_dir:
            # The supervisor says that this takes a restart. The pepper that goes along is not to be looked for: a start makes it.
            return settings
        _without_faults(settings, pepper_faults)
        _without_faults(settings, lambda keys: succession_faults(keys, self._in_use))
        self._last = settings, load(Path(settings.keys.pepper_file)).id
        return settings


class Claim(NamedTuple):
    """What the supervisor holds for its children."""

    fds: Mapping[str, Mapping[str, Sequence[int]]]
    """Descriptors that children of a role inherit, by the option that announces them."""
    sockets: WorkerSockets
    control_sockets: ControlSockets


def claim(settings: Settings, listening: str = "proxy.listen") -> Claim:
    """Take what the sidecar needs for itself. Raises DataDirError, ListenError and NoServerError."""
    directory = Path(settings.data_dir)
    data_dir.prepare(directory)
    lock = data_dir.lock(directory)
    for name, listen in addresses(settings).items():
        listeners.check(name, listen)
    if settings.store.url == "embedded":
        embedded_store.find_server()
    control_sockets = ControlSockets()
    control_sockets.add(settings)
    sockets = WorkerSockets(listening)
    sockets.add(settings.proxy.listen, settings.proxy.worker_count, listeners.PATIENCE)
    # The store holds the lock too: after a kill of the supervisor it may live a moment longer, with its file open.
    return Claim({"store": {"lock": [lock]}}, sockets, control_sockets)
