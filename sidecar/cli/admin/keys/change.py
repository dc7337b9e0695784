"""`keys update`, `revoke`, `disable` and `enable`: changes that show no secret."""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import quote

from sidecar.cli.admin.api import ApiError
from sidecar.cli.admin.keys.fields import add_options, members
from sidecar.cli.admin.selection import KEY_HELP, find_key, key_path, refuse_secret
from sidecar.cli.admin.session import Session, add_command
from sidecar.cli.admin.text import printable
from sidecar.cli.errors import WRONG_USE, CommandError


def add(subparsers: Any) -> None:
    """Add the commands."""
    parser = add_command(subparsers, "update", update, "change a key's fields; what is not named stays as it is")
    parser.add_argument("key", metavar="KEY", help=KEY_HELP)
    parser.add_argument("--name", help="the key's new name")
    add_options(parser)
    parser.add_argument("--revision", type=int, metavar="N", help="refuse the change when the key has another revision")
    parser = add_command(subparsers, "revoke", revoke, "end a key for good, or one of its secrets")
    parser.add_argument("key", metavar="KEY", help=KEY_HELP)
    parser.add_argument("--secret", metavar="ID", help="end only this secret, such as the old one after a rotation")
    parser.add_argument("--reason", metavar="TEXT", help="why, for the audit log")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    for name, handler, summary in (
        ("disable", disable, "refuse a key until it is enabled again"),
        ("enable", enable, "let a disabled key in again"),
    ):
        parser = add_command(subparsers, name, handler, summary)
        parser.add_argument("key", metavar="KEY", help=KEY_HELP)
        parser.add_argument("--reason", metavar="TEXT", help="why, for the audit log")


def update(args: argparse.Namespace, session: Session) -> int:
    """Change the fields named by options, or nothing when somebody else changed the key meanwhile."""
    key = find_key(session.api, args.key)
    body = members(args, session.now(), key)
    if not body:
        raise CommandError("nothing to change; name at least one field, such as --rpm 600 (see sidecar keys update --help).", WRONG_USE)
    body["revision"] = args.revision if args.revision is not None else key["revision"]
    answer = session.api.send("PATCH", key_path(key["id"]), body)
    return _changed(args, session, answer, "Updated")


def revoke(args: argparse.Namespace, session: Session) -> int:
    """Revoke a key, after a question when somebody sits at the terminal."""
    if args.secret is not None and not args.secret.strip():
        # A variable of a shell that is not set must not end the whole key.
        raise CommandError("--secret: give the id of a secret; `sidecar keys show KEY` lists them.", WRONG_USE)
    refuse_secret(args.secret or "")
    key = find_key(session.api, args.key)
    what = f"the secret {args.secret} of the key" if args.secret is not None else "the key"
    question = f"Revoke {what} {printable(key['name'])} ({key['id']}, {key['hint']})? This is final."
    if not args.yes and not args.json and session.stdin.isatty() and not session.confirms(question):
        raise CommandError("nothing was revoked; answer y, or give --yes.")
    more = ("secrets", quote(args.secret, safe=""), "revoke") if args.secret is not None else ("revoke",)
    try:
        answer = session.api.send("POST", key_path(key["id"], *more), _because(args))
    except ApiError as error:
        # The key was found a moment ago: it is the secret that is not there.
        if error.status != 404 or args.secret is None:
            raise
        raise CommandError(f"the key has no secret of this id; `sidecar keys show {key['id']}` lists them.") from None
    return _changed(args, session, answer, "Revoked" if args.secret is None else f"Revoked the secret {printable(args.secret)} of")


def disable(args: argparse.Namespace, session: Session) -> int:
    """Disable a key."""
    return _switch(args, session, "disable", "Disabled")


def enable(args: argparse.Namespace, session: Session) -> int:
    """Enable a key."""
    return _switch(args, session, "enable", "Enabled")


def _switch(args: argparse.Namespace, session: Session, act: str, done: str) -> int:
    key = find_key(session.api, args.key)
    return _changed(args, session, session.api.send("POST", key_path(key["id"], act), _because(args)), done)


def _because(args: argparse.Namespace) -> dict[str, str]:
    return {"reason": args.reason} if args.reason else {}


def _changed(args: argparse.Namespace, session: Session, answer: dict[str, Any], done: str) -> int:
    if args.json:
        session.document(answer)
        return 0
    key = answer["key"]
    session.say(f"{done} the key {printable(key['name'])} ({key['id']}); it is {key['status']}, revision {key['revision']}.")
    return 0
