"""Where the admin API is and which token opens it: options first, then the environment, then the data directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sidecar.cli.errors import WRONG_USE, CommandError
from sidecar.redaction import without_secrets

DEFAULT_URL = "http://127.0.0.1:8081"
URL_VARIABLE = "SIDECAR_ADMIN_URL"
TOKEN_VARIABLE = "SIDECAR_ADMIN_TOKEN"  # noqa: S105
TOKEN_FILE = "admin-token"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Address:
    """The admin listener, taken apart; `socket` is the path of a unix socket, else empty."""

    url: str
    tls: bool
    host: str
    port: int
    prefix: str
    socket: str


def parse(url: str) -> Address:
    """Take `http://`, `https://` or `unix:///path` apart; CommandError when it is none of these."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _no_address(url) from None
    if parts.scheme == "unix" and parts.path and not parts.netloc:
        return Address(url, False, "localhost", 0, "", parts.path)
    sendable = url.isprintable() and " " not in url and parts.path.isascii()
    if parts.scheme not in ("http", "https") or not parts.hostname or not sendable or parts.query or "@" in parts.netloc:
        raise _no_address(url)
    tls = parts.scheme == "https"
    return Address(url, tls, parts.hostname, port or (443 if tls else 80), parts.path.rstrip("/"), "")


def _no_address(url: str) -> CommandError:
    # Somebody may have given the token instead, or a password that is of no use here.
    shown = "this" if "@" in url else repr(without_secrets(url))
    return CommandError(f"{shown} is not the address of an admin API; write http://host:port, https://host or unix:///path.", WRONG_USE)


def find(option: str | None, environment: Mapping[str, str]) -> Address:
    """The address from `--admin-url`, SIDECAR_ADMIN_URL or the default."""
    return parse(option or environment.get(URL_VARIABLE) or DEFAULT_URL)


def find_token(file: str | None, environment: Mapping[str, str], data_dir: Path) -> str:
    """The token from `--admin-token-file`, SIDECAR_ADMIN_TOKEN or `<data_dir>/admin-token`; CommandError when there is none."""
    if file is None and environment.get(TOKEN_VARIABLE):
        return _bare(environment[TOKEN_VARIABLE], TOKEN_VARIABLE)
    path = data_dir / TOKEN_FILE if file is None else Path(file)
    # Somebody may have given the token instead of its file.
    shown = without_secrets(str(path))
    try:
        return _bare(path.read_text(encoding="utf-8"), shown)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        advice = f"give the file that holds it with --admin-token-file, or set SIDECAR_DATA_DIR or {TOKEN_VARIABLE}"
        raise CommandError(f"no admin token: {shown} cannot be read ({reason}); {advice}.") from None


def _bare(text: str, place: str) -> str:
    token = text.strip()
    # A header is made of it: anything that is not one printable word is not a token, and must not be sent.
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise CommandError(f"{place} does not hold an admin token; it must be the bare token on one line.")
    return token
