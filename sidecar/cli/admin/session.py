"""What every command of the admin API shares: its options, and the streams, clock and connection that it is handed."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TextIO

from sidecar.cli import config_file
from sidecar.cli.admin import address
from sidecar.cli.admin.api import AdminApi
from sidecar.cli.admin.output import Column, document, table, terminal_width
from sidecar.cli.admin.text import printable
from sidecar.cli.parser import filled
from sidecar.settings import Settings, SettingsError, load

DATA_DIR_VARIABLE = "SIDECAR_DATA_DIR"


@dataclass(frozen=True, slots=True)
class Session:
    """What a command works with; tests hand in streams and a clock of their own."""

    api: AdminApi
    stdin: TextIO
    out: TextIO
    err: TextIO
    now: Callable[[], datetime]
    environment: Mapping[str, str]

    def say(self, text: str = "") -> None:
        """One line for people, on standard output."""
        self.out.write(text + "\n")

    def note(self, text: str) -> None:
        """One line beside the result, on standard error."""
        self.err.write(text + "\n")

    def confirms(self, question: str) -> bool:
        """Whether whoever sits at the terminal says yes."""
        self.api.rest()
        self.err.write(f"{question} [y/N] ")
        self.err.flush()
        try:
            return self.stdin.readline().strip().lower() in ("y", "yes")
        except UnicodeDecodeError:
            # A key beside y, in a terminal set to something else than this program's UTF-8.
            return False

    def redraws(self, stream: TextIO) -> bool:
        """Whether `stream` is a terminal that can take back what it shows; one within an editor says that it cannot."""
        return stream.isatty() and self.environment.get("TERM") != "dumb"

    def data(self, line: bytes) -> None:
        """A line of an export as it came, unless a terminal would obey what clients have written into it."""
        text = line.decode()
        self.out.write(printable(text.rstrip("\r\n")) + "\n" if self.out.isatty() else text)

    def document(self, value: Any) -> None:
        """The one JSON document of --json."""
        self.out.write(document(value) + "\n")

    def table(self, columns: tuple[Column, ...], rows: list[list[str]]) -> None:
        """A table as wide as the terminal at most."""
        for line in table(columns, rows, terminal_width(self.out)):
            self.say(line)


Handler = Callable[[argparse.Namespace, Session], int]


def add_command(subparsers: Any, name: str, handler: Handler, summary: str, description: str = "") -> argparse.ArgumentParser:
    """A parser for `name` with the options that all commands of the admin API take."""
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=summary, description=description or summary)
    group = parser.add_argument_group("admin API")
    group.add_argument(
        "--admin-url", type=filled, metavar="URL", help=f"its address (default: ${address.URL_VARIABLE}, else {address.DEFAULT_URL})"
    )
    group.add_argument(
        "--admin-token-file",
        type=filled,
        metavar="FILE",
        help=f"file with the admin token (default: ${address.TOKEN_VARIABLE}, else <data_dir>/{address.TOKEN_FILE})",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    parser.set_defaults(handler=handler)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the handler that `add_command` noted, against the admin API that options and environment name."""
    where = address.find(args.admin_url, os.environ)
    handler: Handler = args.handler

    @cache
    def token() -> str:
        # Read once, though a command may make several calls: the shell's `<(…)` is a pipe, which gives its text once.
        return address.find_token(args.admin_token_file, os.environ, data_dir(os.environ))

    with AdminApi(where, token) as api:
        return handler(args, Session(api, sys.stdin, sys.stdout, sys.stderr, lambda: datetime.now(UTC), os.environ))


def data_dir(environment: Mapping[str, str]) -> Path:
    """The data directory that the environment or the configuration file names, else the default."""
    return Path(environment.get(DATA_DIR_VARIABLE) or configured(environment).data_dir or Settings().data_dir)


def configured(environment: Mapping[str, str]) -> Settings:
    """What the environment and the configuration file say, else the defaults.

    What cannot be read here, for example because the secrets are not in this shell's environment,
    must not keep an operator from the admin API.
    """
    try:
        return load(config_file.find(None, environment), environment)
    except SettingsError as error:
        return error.rest or Settings()
