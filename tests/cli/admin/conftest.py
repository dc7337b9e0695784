from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sidecar.cli import completion
from sidecar.cli.admin import address, admin_tokens, audit, keys, top, usage
from sidecar.cli.admin.api import AdminApi
from sidecar.cli.admin.session import Session
from sidecar.cli.errors import CommandError
from tests.support.certificates import self_signed
from tests.support.fake_admin import TOKEN, FakeAdmin, serving

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass
class Result:
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate that nobody trusts, and its key."""
    return self_signed(tmp_path_factory.mktemp("certificate"))


Cli = Callable[..., Result]


@pytest.fixture
def admin() -> Iterator[FakeAdmin]:
    with serving() as fake:
        yield fake


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser("sidecar")
    subparsers = root.add_subparsers(required=True)
    for module in (keys, usage, top, audit, admin_tokens, completion):
        module.add(subparsers)
    return root


@pytest.fixture
def cli(admin: FakeAdmin, parser: argparse.ArgumentParser) -> Cli:
    """Runs a command against the fake API with streams of its own; a terminal on all three when `tty`."""

    def run(*words: str, stdin: str = "", tty: bool = False, environment: dict[str, str] | None = None) -> Result:
        args = parser.parse_args(words)
        stream = Terminal if tty else io.StringIO
        out, err = stream(), stream()
        with AdminApi(address.parse(admin.url), lambda: TOKEN) as api:
            session = Session(api, stream(stdin), out, err, lambda: NOW, environment or {})
            try:
                code = args.handler(args, session)
            except CommandError as error:
                code = error.code
                err.write(f"{error}\n")
        return Result(code, out.getvalue(), err.getvalue())

    return run


def make_key(**changes: Any) -> dict[str, Any]:
    """A key as the API gives it."""
    return {
        "id": "key_0123456789abcdef",
        "name": "shop",
        "owner": "team-a",
        "status": "active",
        "hint": "ahk_…1c96",
        "created_at": "2026-11-20T12:00:00Z",
        "expires_at": None,
        "last_used_at": "2026-11-24T11:58:00Z",
        "allowed_routes": None,
        "allowed_models": None,
        "allowed_ips": None,
        "limits": {"rpm": None, "tpm": None, "max_concurrency": None},
        "quota": None,
        "enforcement": None,
        "on_anomaly": None,
        "metadata": {},
        "tags": [],
        "secrets": [],
        "revision": 3,
        **changes,
    }
