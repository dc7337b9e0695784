"""`sidecar config …`: is the configuration right, what is in force, and what is there to set."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from sidecar.cli import config_file, configuration
from sidecar.keys.pepper_files import pepper_faults
from sidecar.settings import SettingsError, reference, show
from sidecar.settings.schema import schema

_JSON_HELP = "print one JSON document and nothing else"


def add(subparsers: Any) -> None:
    """Add `config` and its commands."""
    parser = subparsers.add_parser("config", help="check, show and explain the configuration")
    commands = parser.add_subparsers(dest="config_command", metavar="COMMAND", required=True)
    checking = commands.add_parser("check", help="report every fault of the configuration at once")
    showing = commands.add_parser("show", help="print the configuration in force, secrets masked")
    checking.description = "Read file and environment as `sidecar serve` would; every fault is one line with its path. Starts nothing."
    showing.description = "Every setting as it would be used, with what the environment changed. Secrets are masked."
    describing = commands.add_parser("schema", help="print the JSON Schema of the configuration file")
    referring = commands.add_parser("reference", help="print every setting as a Markdown page")
    for command in (describing, referring):
        command.description = "The same whatever the configuration is: -c is taken as by the other commands, the file is not read."
    for command in (checking, showing, describing):
        command.add_argument("--json", action="store_true", help=_JSON_HELP)
    for command in (checking, showing, describing, referring):
        config_file.add_option(command)
    form = referring.add_mutually_exclusive_group()
    form.add_argument("--example", action="store_true", help="print a commented configuration file instead")
    form.add_argument("--json", action="store_true", help=_JSON_HELP)


def run(args: argparse.Namespace) -> int:
    """Run the chosen command; raises SettingsError when the configuration is wrong."""
    if args.config_command == "check":
        return _check(args)
    if args.config_command == "show":
        settings = configuration.read(args.config, os.environ)
        print(json.dumps(show.tree(settings), indent=2, ensure_ascii=False) if args.json else show.as_yaml(settings).rstrip())
    elif args.config_command == "schema":
        print(json.dumps(schema(), indent=2, ensure_ascii=False))
    elif args.json:
        print(json.dumps({"data": reference.as_tree()}, indent=2, ensure_ascii=False))
    else:
        sys.stdout.write(reference.example() if args.example else reference.markdown())
    return 0


def _check(args: argparse.Namespace) -> int:
    file = config_file.find(args.config, os.environ)
    try:
        faults = pepper_faults(configuration.read(args.config, os.environ).keys)
    except SettingsError as error:
        faults = error.faults
    if args.json:
        print(json.dumps({"file": str(file) if file else None, "valid": not faults, "faults": faults}, indent=2, ensure_ascii=False))
    if faults:
        raise SettingsError(faults)
    if not args.json:
        print(f"{file or 'The default configuration'} is valid.")
    return 0
