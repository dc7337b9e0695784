"""`sidecar admin-tokens create|list|revoke`: who may use the admin API, and in which role."""

from __future__ import annotations

import argparse
import re
from typing import Any
from urllib.parse import quote

from sidecar.cli.admin import session
from sidecar.cli.admin.api import ApiError
from sidecar.cli.admin.output import Column
from sidecar.cli.admin.session import Session, add_command
from sidecar.cli.admin.text import printable, relative
from sidecar.cli.errors import CommandError

_ID = re.compile(r"sat_[0-9A-Za-z]{16}")
ROLES = ("viewer", "operator", "admin")

_LIST = (Column("name", shrinks=True), Column("id"), Column("role"), Column("hint"), Column("created"), Column("last used"))


def add(subparsers: Any) -> None:
    """Add `admin-tokens` and its commands."""
    parser = subparsers.add_parser("admin-tokens", help="who may use the admin API")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    creating = add_command(
        commands,
        "create",
        create,
        "make an admin token; it is shown once",
        "A viewer reads, an operator manages keys, an admin also manages admin tokens.",
    )
    creating.add_argument("--name", required=True, help="who or what uses it")
    creating.add_argument("--role", choices=ROLES, default="viewer", help="what it may do (viewer)")
    add_command(commands, "list", list_tokens, "list admin tokens")
    revoking = add_command(commands, "revoke", revoke, "end an admin token for good")
    revoking.add_argument("token", metavar="ID", help="id or name of the token, never the token itself")
    revoking.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> int:
    """Run the chosen command."""
    return session.run(args)


def create(args: argparse.Namespace, session: Session) -> int:
    """Create a token and show it."""
    answer = session.api.send("POST", "/admin-tokens", {"name": args.name, "role": args.role})
    if args.json:
        session.document(answer)
        return 0
    made = answer["admin_token"]
    session.say(f"Created the admin token {printable(made['name'])} ({made['id']}) in the role {made['role']}.\n")
    session.say(f"  {answer['token']}\n")
    session.say("Store it now: it is not kept anywhere and cannot be shown again.")
    return 0


def list_tokens(args: argparse.Namespace, session: Session) -> int:
    """Print all tokens that are not revoked."""
    tokens = session.api.get("/admin-tokens")["data"]
    if args.json:
        session.document({"data": tokens})
        return 0
    now = session.now()
    session.table(
        _LIST,
        [
            [
                token["name"],
                token["id"],
                token["role"],
                token["hint"],
                relative(token["created_at"], now),
                relative(token["last_used_at"], now),
            ]
            for token in tokens
        ],
    )
    return 0


def revoke(args: argparse.Namespace, session: Session) -> int:
    """Revoke a token, after a question when somebody sits at the terminal."""
    tokens = session.api.get("/admin-tokens")["data"]
    fitting = [token for token in tokens if token["id"] == args.token]
    if not fitting and _ID.fullmatch(args.token):
        # One whose record cannot be read is in no list; the log gives its id. Nor is another one meant that has it for a name.
        fitting = [{"id": args.token, "name": args.token}]
    fitting = fitting or [token for token in tokens if token["name"] == args.token]
    if len(fitting) != 1:
        raise _no_token(len(fitting))
    found = fitting[0]
    question = f"Revoke the admin token {printable(found['name'])} ({found['id']})? This is final."
    if not args.yes and not args.json and session.stdin.isatty() and not session.confirms(question):
        raise CommandError("nothing was revoked; answer y, or give --yes.")
    try:
        session.api.send("DELETE", f"/admin-tokens/{quote(found['id'], safe='')}")
    except ApiError as error:
        raise _no_token(0) if error.status == 404 else error from None
    if args.json:
        session.document({"admin_token": found})
    else:
        session.say(f"Revoked the admin token {printable(found['name'])} ({found['id']}).")
    return 0


def _no_token(count: int) -> CommandError:
    return CommandError(f"{count or 'no'} admin tokens have this id or name; `sidecar admin-tokens list` shows all.")
