"""`keys list` and `keys show`: what there is, and for one key also who still uses which of its secrets."""

from __future__ import annotations

import argparse
from itertools import islice
from typing import Any

from sidecar.cli.admin.api import PAGE, Items
from sidecar.cli.admin.output import Column, ListDocument, facts
from sidecar.cli.admin.selection import KEY_HELP, find_key, key_path, refuse_secret
from sidecar.cli.admin.session import Session, add_command
from sidecar.cli.admin.text import count, moment, relative
from sidecar.cli.errors import WRONG_USE, CommandError
from sidecar.cli.parser import filled

STATUSES = ("active", "disabled", "expired", "revoked")
_ORDERS = ("newest", "oldest", "name", "expires_at", "last_used_at")

_LIST = (
    Column("name", shrinks=True),
    Column("id"),
    Column("hint"),
    Column("owner", shrinks=True),
    Column("status"),
    Column("created"),
    Column("last used"),
    Column("expires"),
)
_SECRETS = (
    Column("secret"),
    Column("hint"),
    Column("state"),
    Column("until"),
    Column("last used"),
    Column("requests", "right"),
    Column("networks", shrinks=True),
    Column("agents", shrinks=True),
)


def add_filters(parser: argparse.ArgumentParser) -> None:
    """The options that `keys list` and `keys export` share."""
    parser.add_argument("q", nargs="?", type=filled, metavar="TEXT", help="beginning of a name, owner, id or hint")
    parser.add_argument("--status", choices=STATUSES, help="only keys in this state")
    parser.add_argument("--owner", type=filled, help="only keys of exactly this owner")
    parser.add_argument("--limit", type=int, metavar="N", help="stop after N keys")


def filtered(args: argparse.Namespace, session: Session, cursor: str | None = None, sort: str | None = None) -> Items:
    """The keys that the options of `add_filters` choose, fetched page by page, from `cursor` on; newest first, or in the order `sort`."""
    if args.limit is not None and args.limit < 1:
        raise CommandError("--limit: give a number from 1.", WRONG_USE)
    refuse_secret(args.q or "")
    return session.api.items("/keys", args.limit, cursor, q=args.q, status=args.status, owner=args.owner, sort=sort)


def add(subparsers: Any) -> None:
    """Add both commands."""
    listing = add_command(subparsers, "list", list_keys, "list keys, newest first unless told otherwise")
    add_filters(listing)
    listing.add_argument(
        "--sort",
        choices=_ORDERS,
        help="the order; expires_at: keys that expire, soonest first; last_used_at: keys that were used, latest first",
    )
    listing.add_argument("--cursor", metavar="TEXT", help="go on where --limit ended a list before: its next_cursor, which --json prints")
    add_command(subparsers, "show", show, "show a key and who uses which of its secrets").add_argument("key", metavar="KEY", help=KEY_HELP)


def list_keys(args: argparse.Namespace, session: Session) -> int:
    """Print the chosen keys: a table for each page, so that the first rows of a million show at once."""
    keys = filtered(args, session, args.cursor, args.sort)
    if args.json:
        listing = ListDocument(session.out)
        for key in keys:
            listing.add(key)
        listing.close(next_cursor=keys.next_cursor)
        return 0
    shown = 0
    while page := list(islice(keys, PAGE)):
        session.table(_LIST, [_row(key, session) for key in page])
        shown += len(page)
    if not shown:
        session.note("No keys." if not (args.q or args.status or args.owner) else "No keys match.")
    return 0


def show(args: argparse.Namespace, session: Session) -> int:
    """Print everything about one key but its secrets."""
    key = find_key(session.api, args.key)
    secrets = session.api.get(key_path(key["id"], "secrets"))
    if args.json:
        session.document({"key": key, "secrets": secrets["data"], "safe_to_retire": secrets["safe_to_retire"]})
        return 0
    for line in facts(_facts(key, session)):
        session.say(line)
    session.say()
    session.table(_SECRETS, [_secret_row(secret, session) for secret in secrets["data"]])
    verdict = secrets["safe_to_retire"]
    if verdict is not None:
        word = "can be ended now" if verdict["safe"] else "is still needed"
        session.say(f"\nThe old secret {word}: {verdict['reason']}")
    return 0


def _row(key: dict[str, Any], session: Session) -> list[str]:
    now = session.now()
    return [
        key["name"],
        key["id"],
        key["hint"],
        key["owner"],
        key["status"],
        relative(key["created_at"], now),
        relative(key["last_used_at"], now),
        relative(key["expires_at"], now),
    ]


def _facts(key: dict[str, Any], session: Session) -> list[tuple[str, str]]:
    now = session.now()
    limits, quota = key["limits"] or {}, key["quota"]
    # A limit that is only watched is told as one, whatever the key's own mode says.
    modes = {name: f" ({mode})" for name, mode in (limits.get("enforcement") or {}).items()}
    named = [
        f"{name} {count(limits[name])}{modes.get(name, '')}" for name in ("rpm", "tpm", "max_concurrency") if limits.get(name) is not None
    ]
    amounts = [f"{count(quota[name])} {name}" for name in ("requests", "tokens") if quota.get(name) is not None] if quota else []
    pairs = [
        ("Name", key["name"]),
        ("Id", key["id"]),
        ("Hint", key["hint"]),
        ("Owner", key["owner"] or "-"),
        ("Status", key["status"]),
        ("Created", moment(key["created_at"], now)),
        ("Expires", moment(key["expires_at"], now)),
        ("Last used", moment(key["last_used_at"], now)),
        ("Routes", _allowed(key["allowed_routes"])),
        ("Models", _allowed(key["allowed_models"])),
        ("Addresses", _allowed(key["allowed_ips"])),
        ("Limits", ", ".join(named) or "none"),
        ("Quota", f"{' and '.join(amounts)} a {quota['period']} ({quota['timezone']}){modes.get('quota', '')}" if quota else "none"),
        ("Enforcement", key["enforcement"] or "as configured"),
        ("On anomaly", key["on_anomaly"] or "as configured"),
        ("Tags", ", ".join(key["tags"]) or "-"),
        ("Metadata", ", ".join(f"{name}={value}" for name, value in key["metadata"].items()) or "-"),
        ("Revision", str(key["revision"])),
    ]
    if key.get("throttled_until"):
        pairs.insert(5, ("Throttled", f"until {moment(key['throttled_until'], now)}"))
    return pairs


def _allowed(entries: list[str] | None) -> str:
    if entries is None:
        return "any"
    return ", ".join(entries) or "none"


def _secret_row(secret: dict[str, Any], session: Session) -> list[str]:
    now = session.now()
    return [
        secret["id"],
        secret["hint"],
        secret["state"],
        relative(secret["expires_at"], now, "-"),
        relative(secret["last_used_at"], now),
        count(secret["requests"]),
        ", ".join(secret["networks"]) or "-",
        ", ".join(secret["agents"]) or "-",
    ]
