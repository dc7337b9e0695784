"""`sidecar usage [KEY]`: what a key, or all keys, used."""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import Any

from sidecar.cli.admin import session
from sidecar.cli.admin.output import Column, facts
from sidecar.cli.admin.selection import KEY_HELP, find_key, key_path
from sidecar.cli.admin.session import Session, add_command
from sidecar.cli.admin.text import brief, count, parse_time, read_moment
from sidecar.cli.errors import WRONG_USE, CommandError

GROUPS = ("key", "owner", "model", "route", "outcome")
ROWS = 30
"""Rows of a series that a person reads; --json and --csv have all."""

_SUMS = ("requests", "errors", "denied", "input_tokens", "output_tokens", "images", "credits", "bytes_in", "bytes_out")


def add(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers, "usage", usage, "what keys used: requests, tokens, images, bytes", "Without --from and --to: all that is kept."
    )
    parser.add_argument("key", nargs="?", metavar="KEY", help=f"{KEY_HELP}; without it all keys together")
    parser.add_argument(
        "--from", dest="start", metavar="WHEN", help="requests that ended then or later: 24h, 7d, 2026-01-31, an RFC 3339 time"
    )
    parser.add_argument("--to", dest="end", metavar="WHEN", help="requests that ended before then")
    parser.add_argument("--step", choices=("1m", "1h", "1d"), help="width of a row (1h)")
    parser.add_argument("--group-by", choices=GROUPS, help="one row for each of these")
    parser.add_argument("--csv", action="store_true", help="print CSV")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    return session.run(args)


def usage(args: argparse.Namespace, session: Session) -> int:
    """Print the use as a document, as CSV, or as totals with the newest rows that are not empty."""
    if args.json and args.csv:
        raise CommandError("choose either --json or --csv.", WRONG_USE)
    key = find_key(session.api, args.key) if args.key is not None else None
    path = key_path(key["id"], "usage") if key else "/usage"
    query = {"from": _moment(args.start, session), "to": _moment(args.end, session), "step": args.step, "group_by": args.group_by}
    if args.csv:
        for row in session.api.lines(path, "text/csv", **query):
            session.data(row)
        return 0
    answer = session.api.get(path, **query)
    if args.json:
        session.document(answer)
        return 0
    name = f"{key['name']} ({key['id']})" if key else "all keys"
    for line in facts([("Usage of", name), *((_title(member), count(answer["totals"][member])) for member in _SUMS)]):
        session.say(line)
    _tell_widened(query, answer, session)
    session.say()
    if args.group_by:
        _groups(args.group_by, answer["groups"], session)
    else:
        _series(answer, session)
    return 0


def _tell_widened(asked: dict[str, str | None], answer: dict[str, Any], session: Session) -> None:
    """Say so where the sums are about more than was asked for."""
    for name in ("from", "to"):
        wanted, told = asked[name], answer[name]
        # Answers are in whole milliseconds.
        if wanted is not None and told is not None and abs(parse_time(told) - parse_time(wanted)) >= timedelta(seconds=1):
            session.note(f"The use of that time is no longer kept in such detail: --{name} became {told}.")


def _moment(text: str | None, session: Session) -> str | None:
    if text is None:
        return None
    try:
        return read_moment(text, session.now(), past=True)
    except ValueError as error:
        raise CommandError(f"{error}.", WRONG_USE) from None


def _title(member: str) -> str:
    return member.replace("_", " ").capitalize()


def _groups(by: str, groups: list[dict[str, Any]], session: Session) -> None:
    columns = (Column(by, shrinks=True), *(Column(_title(member), "right") for member in _SUMS))
    ordered = sorted(groups, key=lambda group: -group["totals"]["requests"])
    session.table(columns, [[_label(group), *(_cell(group["totals"], member) for member in _SUMS)] for group in ordered])


def _label(group: dict[str, Any]) -> str:
    return f"{group['name']} ({group['by']})" if group.get("name") else group["by"] or "(none)"


def _series(answer: dict[str, Any], session: Session) -> None:
    filled = [point for point in answer["series"] if any(point[member] for member in _SUMS)]
    columns = (Column("time (UTC)"), *(Column(_title(member), "right") for member in _SUMS))
    rows = [[f"{parse_time(point['time']):%Y-%m-%d %H:%M}", *(_cell(point, member) for member in _SUMS)] for point in filled[-ROWS:]]
    if not rows:
        session.note("No requests in this time.")
        return
    session.table(columns, rows)
    if len(filled) > ROWS:
        session.note(f"{len(filled) - ROWS} earlier rows are not shown; --csv or --json prints all.")


def _cell(sums: dict[str, Any], member: str) -> str:
    value = sums[member]
    return "" if not value else brief(value)
