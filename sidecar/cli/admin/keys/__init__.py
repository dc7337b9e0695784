"""`sidecar keys …`: the life of a key from the command line."""

from __future__ import annotations

import argparse
from typing import Any

from sidecar.cli.admin import session
from sidecar.cli.admin.keys import change, identify, issue, show, transfer


def add(subparsers: Any) -> None:
    """Add `keys` and its commands."""
    parser = subparsers.add_parser("keys", help="create, list, rotate and revoke API keys")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in (issue, show, change, transfer, identify):
        module.add(commands)


def run(args: argparse.Namespace) -> int:
    """Run the chosen command."""
    return session.run(args)
