"""`sidecar doctor`: looks at everything that the sidecar needs and says what to do."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
from pathlib import Path
from typing import Any

import msgspec

from sidecar.cli import config_file, configuration
from sidecar.cli.admin.output import document
from sidecar.cli.doctor import hub, machine, processes, secrets, store
from sidecar.cli.doctor.check import Check, fail, failed, lines, ok
from sidecar.cli.errors import REFUSED
from sidecar.settings import Settings, SettingsError
from sidecar.supervisor.data_dir import in_use


def add(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="probe hub, store, ports, clock and secrets",
        description="Look at everything that the sidecar needs and say what to do. Calls no model and changes nothing.",
    )
    config_file.add_option(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def run(args: argparse.Namespace) -> int:
    """Print the report; returns 1 when something must be mended. Raises SettingsError when the configuration is wrong."""
    # The report says itself what does not answer; without a handler Python would put the parts' own warnings beside it.
    logging.getLogger("sidecar").addHandler(logging.NullHandler())
    try:
        settings = configuration.read(args.config, os.environ)
    except SettingsError as error:
        hint = "correct it; `sidecar config reference` lists every setting"
        _report(args, [fail("configuration", fault, hint) for fault in error.faults])
        raise
    file = config_file.find(args.config, os.environ)
    checks = [ok("configuration", f"{file} is valid" if file else "no file: the defaults hold")]
    checks += [*secrets.checks(settings, file, os.environ), *asyncio.run(examine(settings))]
    _report(args, checks)
    return REFUSED if failed(checks) else 0


async def examine(settings: Settings) -> list[Check]:
    """Every check, in the order of the report."""
    running = in_use(Path(settings.data_dir))
    found = list(machine.checks(settings, running=running))
    found += processes.checks(Path(settings.data_dir)) if running else []
    found += [check async for check in store.checks(settings, running=running)]
    found += [check async for check in hub.checks(settings)]
    return found


def _report(args: argparse.Namespace, checks: list[Check]) -> None:
    if args.json:
        print(document(msgspec.to_builtins({"ok": not failed(checks), "checks": checks})))
    else:
        print("\n".join(lines(checks)))
