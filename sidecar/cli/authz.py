"""`sidecar authz`: the sidecar for fleets that forward by themselves; it answers Envoy, nginx, Traefik and Caddy.

Everything is as with `sidecar serve`, but that the workers judge requests instead of carrying them.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from sidecar.cli import config_file, configuration
from sidecar.cli.serve import CHILD, supervise
from sidecar.settings import Settings, SettingsError
from sidecar.settings.check import listener_faults
from sidecar.supervisor.process import Process, PythonLauncher, Role

LISTENING = "authz.listen"


def add(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "authz",
        help="answer the authorization requests of another proxy",
        description="Run the sidecar as the authorizer of Envoy (ext_authz), nginx (auth_request), Traefik (forwardAuth) or "
        "Caddy (forward_auth): on authz.listen it answers which requests may go to the hub, and with which header fields.",
    )
    config_file.add_option(parser)


def run(args: argparse.Namespace) -> int:
    """Answer questions; returns 0 after an orderly stop."""
    read = configuration.reader(args.config, os.environ)
    return supervise(lambda: as_authorizer(read()), AuthorizerLauncher(os.environ), LISTENING)


def as_authorizer(settings: Settings) -> Settings:
    """The settings of the workers: they listen on authz.listen, in clear text. Raises SettingsError where they cannot."""
    asked = replace(settings, proxy=replace(settings.proxy, listen=settings.authz.listen, tls=None))
    faults = listener_faults(asked, LISTENING)
    if faults:
        raise SettingsError(faults)
    return asked


class AuthorizerLauncher:
    """Starts authorizers where the supervisor asks for workers."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._launch = PythonLauncher(CHILD, environment)

    def __call__(self, role: Role, index: int, settings: bytes, fds: Mapping[str, Sequence[int]]) -> Process:
        """Start one child; raises OSError when the system cannot."""
        return self._launch("authz" if role == "worker" else role, index, settings, fds)
