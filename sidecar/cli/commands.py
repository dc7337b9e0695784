"""The command tree. A command is a module with `add(subparsers)` and `run(args) -> exit code`, named here once.

Only the module of the command that was given is imported: `sidecar config check` must not wait for what
`sidecar doctor` needs.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterable
from typing import Any, Protocol, cast

from sidecar import __version__
from sidecar.cli.parser import Parser

COMMANDS: dict[str, str] = {
    "serve": "sidecar.cli.serve",
    "authz": "sidecar.cli.authz",
    "demo": "sidecar.cli.demo",
    "doctor": "sidecar.cli.doctor",
    "config": "sidecar.cli.config",
    "store": "sidecar.cli.store",
    "keys": "sidecar.cli.admin.keys",
    "usage": "sidecar.cli.admin.usage",
    "top": "sidecar.cli.admin.top",
    "audit": "sidecar.cli.admin.audit",
    "admin-tokens": "sidecar.cli.admin.admin_tokens",
    "completion": "sidecar.cli.completion",
}
"""Each command and the module that has it, in the order of `sidecar --help`."""


class Command(Protocol):
    """What such a module offers."""

    def add(self, subparsers: Any) -> None:
        """Add the command's parser, named as in COMMANDS."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; returns the exit code, raises CommandError or SettingsError."""


def command(name: str) -> Command:
    """The module of a command."""
    return cast(Command, importlib.import_module(COMMANDS[name]))


def build_parser(names: Iterable[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """A parser that knows the commands `names`."""
    parser = Parser(
        prog="sidecar",
        description="API keys for an unmodified AIGNE Hub: checks bearer keys, forwards, meters, watches.",
        epilog="`sidecar demo` shows everything at once; `sidecar COMMAND --help` explains a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sidecar {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in names:
        command(name).add(subparsers)
    return parser
