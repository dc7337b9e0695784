"""`sidecar audit list|verify|export`: who did what to which key, and whether the record of it is whole."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from sidecar.cli.admin import session
from sidecar.cli.admin.output import Column, ListDocument
from sidecar.cli.admin.selection import refuse_secret
from sidecar.cli.admin.session import Session, add_command
from sidecar.cli.admin.text import count, parse_time, read_moment, shorten
from sidecar.cli.errors import REFUSED, WRONG_USE, CommandError
from sidecar.cli.parser import filled
from sidecar.control.audit.event import GENESIS, digest

_CHANGE = 32
"""Columns for one side of a change in the list; --json and export have all of it."""

_LIST = (
    Column("time (UTC)"),
    Column("actor", shrinks=True),
    Column("action"),
    Column("target", shrinks=True),
    Column("result"),
    Column("from"),
    Column("changes", shrinks=True),
)


def add(subparsers: Any) -> None:
    """Add `audit` and its commands."""
    parser = subparsers.add_parser("audit", help="read, verify and export the audit log")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    listing = add_command(commands, "list", list_events, "list audit events, newest first")
    listing.add_argument("--limit", type=int, default=50, metavar="N", help="events at most (50)")
    exporting = add_command(commands, "export", export, "write audit events as JSON Lines")
    for one in (listing, exporting):
        one.add_argument("--actor", type=filled, metavar="ID", help="only acts of this actor")
        one.add_argument("--action", type=filled, metavar="NAME", help="only this action, or family of actions (api_key)")
        one.add_argument("--target", type=filled, metavar="ID", help="only acts on this key or token")
        one.add_argument("--from", dest="start", metavar="WHEN", help="then or later: 24h, 2026-01-31, an RFC 3339 time")
        one.add_argument("--to", dest="end", metavar="WHEN", help="before then")
    verifying = add_command(
        commands,
        "verify",
        verify,
        "check that no audit event was changed or removed",
        "Recomputes the chain of hashes in the store, or that of a whole export.",
    )
    verifying.add_argument("--file", type=Path, metavar="FILE.jsonl", help="check this export instead of the store")


def run(args: argparse.Namespace) -> int:
    """Run the chosen command."""
    return session.run(args)


def list_events(args: argparse.Namespace, session: Session) -> int:
    """Print the newest events."""
    if args.limit < 1:
        raise CommandError("--limit: give a number from 1.", WRONG_USE)
    events = list(session.api.items("/audit-events", args.limit, **_filters(args, session)))
    if args.json:
        session.document({"data": events})
        return 0
    if not events:
        session.note("No events match.")
        return 0
    session.table(_LIST, [_row(event) for event in events])
    return 0


def export(args: argparse.Namespace, session: Session) -> int:
    """Print every chosen event, oldest first as the store keeps them, one a line."""
    lines = session.api.lines("/audit-events", "application/x-ndjson", **_filters(args, session))
    if args.json:
        listing = ListDocument(session.out)
        for line in lines:
            listing.add(json.loads(line))
        listing.close()
        return 0
    for line in lines:
        session.data(line)
    return 0


def verify(args: argparse.Namespace, session: Session) -> int:
    """Print the verdict; exit with 1 when the chain is broken."""
    verdict = check(args.file) if args.file is not None else session.api.get("/audit-events/verify")["verdict"]
    if args.json:
        session.document(verdict)
    elif verdict["ok"]:
        what = "audit log" if args.file is None else "export"
        events = f"{count(verdict['events'])} event{'' if verdict['events'] == 1 else 's'}"
        session.say(f"The {what} is whole: {events}, head {verdict['head_hash']}.")
        if verdict["reason"]:
            session.say(f"But {verdict['reason']}.")
        if args.file is not None:
            # A chain that was cut off at its end is a chain still.
            session.say(f"It ends with event {verdict['head_sequence']}; whether more were written, `sidecar audit verify` tells.")
    if not verdict["ok"] and not args.json:
        missing = "missing" in verdict["reason"] and args.file is not None
        hint = " (an export of a selection has gaps; export without filters)" if missing else ""
        raise CommandError(
            f"the audit log is broken at event {verdict['broken_at']}: {verdict['reason']}{hint}; keep a copy and look into it."
        )
    return 0 if verdict["ok"] else REFUSED


def check(file: Path) -> dict[str, Any]:
    """Recompute the chain of an export; events must stand in the order of their sequence, up or down."""
    try:
        # Not by splitlines(), to which other characters end a line too: they may stand in a note of a key.
        events = [_read(line) for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]
        events.sort(key=lambda event: event["sequence"])
        return _chain(events)
    except OSError as error:
        raise CommandError(f"{file} cannot be read ({error.strerror}).") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CommandError(f"{file} is not an export of the audit log; make one with `sidecar audit export`.") from None


def _read(line: str) -> Any:
    """An event as all readers read it: one that has a member twice, or no number for one, says to some what its hash does not cover."""
    return json.loads(line, object_pairs_hook=_once, parse_constant=_refuse)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member is there twice")
    return members


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _chain(events: list[dict[str, Any]]) -> dict[str, Any]:
    previous: dict[str, Any] | None = None
    for event in events:
        sealed = {name: value for name, value in event.items() if name != "hash"}
        reason = ""
        if digest(msgspec.json.encode(sealed, order="sorted")) != event["hash"]:
            reason = "its hash is not that of its content"
        elif previous is None and (event["sequence"], event["prev_hash"]) != (1, GENESIS):
            reason = f"the events before it are missing (up to number {event['sequence'] - 1})"
        elif previous is not None and event["sequence"] != previous["sequence"] + 1:
            reason = f"the event before it is missing (number {event['sequence'] - 1})"
        elif previous is not None and event["prev_hash"] != previous["hash"]:
            reason = "it does not follow the event before it"
        if reason:
            return _verdict(events, event, event["sequence"], reason)
        previous = event
    return _verdict(events, previous, None, "")


def _verdict(events: list[dict[str, Any]], head: dict[str, Any] | None, broken_at: int | None, reason: str) -> dict[str, Any]:
    return {
        "ok": broken_at is None,
        "events": len(events),
        "head_sequence": head["sequence"] if head else 0,
        "head_hash": head["hash"] if head else "",
        "broken_at": broken_at,
        "reason": reason,
    }


def _filters(args: argparse.Namespace, session: Session) -> dict[str, Any]:
    refuse_secret(args.actor or "")
    refuse_secret(args.target or "")
    try:
        times = {
            name: None if text is None else read_moment(text, session.now(), past=True)
            for name, text in (("from", args.start), ("to", args.end))
        }
    except ValueError as error:
        raise CommandError(f"{error}.", WRONG_USE) from None
    return {"actor": args.actor, "action": args.action, "target": args.target, **times}


def _row(event: dict[str, Any]) -> list[str]:
    target, changes = event.get("target"), event.get("changes") or {}
    what = ", ".join(told for name, change in changes.items() for told in _differences(name, change["old"], change["new"]))
    return [
        f"{parse_time(event['time']):%Y-%m-%d %H:%M:%S}",
        event["actor"].get("name") or event["actor"]["id"] or "nobody",
        event["action"],
        (target.get("name") or target["id"]) if target else "-",
        event["outcome"],
        event["source"]["address"] or "-",
        "; ".join(part for part in (event.get("reason"), what) if part),
    ]


def _differences(name: str, old: Any, new: Any) -> Iterator[str]:
    """What changed of `name`: of members and entries those alone that differ, which may stand behind what fits the line."""
    old, new = _by_id(old), _by_id(new)
    if isinstance(old, dict) and isinstance(new, dict):
        for member in {**old, **new}:
            if old.get(member) != new.get(member):
                yield from _differences(f"{name}.{member}", old.get(member), new.get(member))
        return
    entries: list[str] = []
    if isinstance(old, list) and isinstance(new, list):
        entries = [*(f"-{_short(entry)}" for entry in old if entry not in new), *(f"+{_short(entry)}" for entry in new if entry not in old)]
    yield f"{name}: " + (shorten(" ".join(entries), 2 * _CHANGE) if entries else f"{_short(old)} → {_short(new)}")


def _by_id(value: Any) -> Any:
    """A list of secrets as their mapping; anything else as it is."""
    if isinstance(value, list) and value and all(isinstance(entry, dict) and "id" in entry for entry in value):
        return {str(entry["id"]): entry for entry in value}
    return value


def _short(value: Any) -> str:
    text = "-" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shorten(text, _CHANGE)
