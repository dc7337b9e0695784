"""`keys identify`: whose key is this leaked token. The token comes from standard input, never from the command line."""

from __future__ import annotations

import argparse
import getpass
from typing import Any

from sidecar.cli.admin.output import facts
from sidecar.cli.admin.session import Session, add_command
from sidecar.cli.admin.text import moment
from sidecar.cli.errors import WRONG_USE, CommandError
from sidecar.keys.token import pasted


def add(subparsers: Any) -> None:
    """Add the command."""
    add_command(
        subparsers,
        "identify",
        identify,
        "whose key is a leaked token",
        "Reads the token from standard input, or asks for it: an argument would end up in the shell's history and in the process list.",
    )


def identify(args: argparse.Namespace, session: Session) -> int:
    """Print the key that the token belongs to, and whether the token still opens it."""
    token = _token(session)
    answer = session.api.send("POST", "/keys/identify", {"token": token})
    if args.json:
        session.document(answer)
        return 0
    key, secret, now = answer["key"], answer["secret"], session.now()
    for line in facts(
        [
            ("Key", f"{key['name']} ({key['id']})"),
            ("Owner", key["owner"] or "-"),
            ("Key status", key["status"]),
            ("Secret", f"{secret['id']}, {secret['state']}"),
            ("Last used", moment(secret["last_used_at"], now)),
            ("Still works", "yes" if answer["valid"] else "no"),
        ]
    ):
        session.say(line)
    if answer["valid"]:
        session.say(f"To end it: {_end(key['id'], secret)}")
    return 0


def _end(key_id: str, secret: dict[str, Any]) -> str:
    # An old secret has a successor in use, which nobody has found: it must go on.
    if secret["state"] == "retiring":
        return f"sidecar keys revoke {key_id} --secret {secret['id']}"
    return f"sidecar keys rotate {key_id} --grace 0s, or sidecar keys revoke {key_id}"


def _token(session: Session) -> str:
    asked = session.stdin.isatty()
    try:
        token = pasted(getpass.getpass("Token: ", stream=session.err) if asked else session.stdin.readline())
    except EOFError:
        token = ""
    except UnicodeDecodeError:
        raise CommandError("standard input is not text in UTF-8; send the token as plain text.", WRONG_USE) from None
    if not token:
        raise CommandError("no token; send it on standard input: sidecar keys identify < file.", WRONG_USE)
    return token
