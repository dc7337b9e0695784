"""`keys import` and `keys export`: many keys in and out as JSON Lines. No line of an import is lost silently.

A line is what `POST /admin/v1/keys/import` takes. One that holds the `token` itself instead of
its `sha256` is digested here, so that the token never leaves this machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

from sidecar.cli.admin.api import ApiError
from sidecar.cli.admin.keys.show import add_filters, filtered
from sidecar.cli.admin.output import ListDocument, encoded
from sidecar.cli.admin.session import Session, add_command
from sidecar.cli.admin.text import amount, printable
from sidecar.cli.errors import CommandError
from sidecar.keys.digest import LONGEST_TOKEN, may_be_key

BATCH_LINES = 200
BATCH_BYTES = 512 << 10
MAX_LINE = 1 << 20
"""Bytes; the API takes no longer ones either. A key with long lists needs some 200 KiB."""
_MEDIA = "application/x-ndjson"
_BAR = 30


class _Repeat(ValueError):
    """A line that can be read in two ways."""


@dataclass
class Report:
    """What became of each line so far."""

    imported: int = 0
    lines: list[dict[str, Any]] = field(default_factory=list)
    """`{"line", "id", "error"}` of each line that was not blank, in order."""

    @property
    def refused(self) -> list[dict[str, Any]]:
        """The lines that were not imported, with the reason of each."""
        return [line for line in self.lines if line["error"] is not None]


def add(subparsers: Any) -> None:
    """Add both commands."""
    parser = add_command(
        subparsers,
        "import",
        import_keys,
        "bring in existing tokens by their SHA-256",
        'Each line of FILE is an object such as {"name": "shop", "sha256": "…"} with any field of a key beside them; '
        'with "token" in place of "sha256" the digest is made here and the token is not sent.',
    )
    parser.add_argument("file", metavar="FILE.jsonl", help="JSON Lines, or - for standard input")
    parser.add_argument("--refused", metavar="FILE", type=Path, help="write the refused lines here, to mend and import them")
    add_filters(add_command(subparsers, "export", export, "write keys as JSON Lines: everything but secrets"))


def export(args: argparse.Namespace, session: Session) -> int:
    """Print the chosen keys, one JSON object a line; with --json as one document."""
    keys = filtered(args, session)
    if args.json:
        listing = ListDocument(session.out)
        for key in keys:
            listing.add(key)
        listing.close()
        return 0
    for key in keys:
        session.say(encoded(key))
    return 0


def import_keys(args: argparse.Namespace, session: Session) -> int:
    """Import a file batch by batch, report every refused line, exit with 1 when there was one."""
    report, raw = Report(), _read(args.file)
    try:
        for batch in _batches(raw, report):
            _send(batch, report, session)
            _progress(batch[-1][0], len(raw), report, session)
    except (CommandError, KeyboardInterrupt) as error:
        if isinstance(error, ApiError) and not report.imported:
            raise
        told = {line["line"] for line in report.lines}
        unsent = [number for number, line in enumerate(raw, 1) if line.strip() and number not in told]
        report.lines += [_refusal(number, f"may not be imported, try it again: {str(error) or 'interrupted'}") for number in unsent]
    report.lines.sort(key=lambda line: line["line"])
    if session.redraws(session.err):
        session.err.write("\r\x1b[K")
    if args.refused is not None:
        _keep(args.refused, raw, report)
    return _conclude(args, report, session)


def _read(name: str) -> list[bytes]:
    try:
        if name == "-":
            return _lines(sys.stdin.buffer)
        with Path(name).open("rb") as file:
            return _lines(file)
    except OSError as error:
        raise CommandError(f"{name} cannot be read ({error.strerror}); give a file of JSON Lines, or -.") from None


def _lines(file: BinaryIO) -> list[bytes]:
    return [line.rstrip(b"\r\n") for line in file]


def _batches(raw: list[bytes], report: Report) -> Iterator[list[tuple[int, bytes]]]:
    """Numbered lines in portions that one call takes; what is no object at all goes straight into the report."""
    batch: list[tuple[int, bytes]] = []
    size = 0
    for number, line in enumerate(raw, 1):
        if not line.strip():
            continue
        try:
            ready = _prepared(line)
        except ValueError as error:
            report.lines.append(_refusal(number, str(error)))
            continue
        if batch and (len(batch) == BATCH_LINES or size + len(ready) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((number, ready))
        size += len(ready) + 1
    if batch:
        yield batch


def _prepared(line: bytes) -> bytes:
    """The line as it is sent: one object, on one line, without a token."""
    if len(line) > MAX_LINE:
        raise ValueError(f"is longer than {MAX_LINE >> 20} MiB")
    try:
        entry = json.loads(line, object_pairs_hook=_members)
    except _Repeat:
        raise
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(entry, dict):
        raise ValueError("is not a JSON object")
    token = entry.pop("token", None)
    if token is not None:
        if not isinstance(token, str) or not token or "sha256" in entry:
            raise ValueError("needs either a token or a sha256")
        if not token.isascii() or not may_be_key(token.encode(), "", accept_imported=True):
            raise ValueError(
                f"has a token that no call can carry; use {LONGEST_TOKEN} printable ASCII characters at most, no blank or comma"
            )
        entry["sha256"] = hashlib.sha256(token.encode()).hexdigest()
        entry.setdefault("hint", _hint(token))
    return json.dumps(entry).encode()


def _hint(token: str) -> str:
    """The last characters of a token whose form nobody knows, a quarter of it at most: what comes first in it may be secret too."""
    shown = min(4, len(token) // 4)
    return "…" + token[len(token) - shown :]


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        # Sent on, it would be there once: the API could not refuse it any more.
        raise _Repeat("has a member twice")
    return members


def _send(batch: list[tuple[int, bytes]], report: Report, session: Session) -> None:
    answer = session.api.upload("/keys/import/lines", b"\n".join(line for _, line in batch) + b"\n", _MEDIA)
    told = {line["line"]: line for line in answer["lines"]}
    for place, (number, _) in enumerate(batch, 1):
        line = told.get(place, {"id": None, "error": "the admin API did not say what became of it"})
        report.lines.append({"line": number, "id": line["id"], "error": line["error"]})
        report.imported += line["error"] is None


def _refusal(number: int, error: str) -> dict[str, Any]:
    return {"line": number, "id": None, "error": error}


def _progress(done: int, total: int, report: Report, session: Session) -> None:
    if session.redraws(session.err):
        filled = _BAR * done // max(1, total)
        session.err.write(f"\r[{'#' * filled}{'.' * (_BAR - filled)}] {done:,} of {total:,} lines, {len(report.refused):,} refused\x1b[K")
        session.err.flush()


def _keep(path: Path, raw: list[bytes], report: Report) -> None:
    data = b"".join(raw[line["line"] - 1] + b"\n" for line in report.refused)
    try:
        with open(path, "wb", opener=_for_this_user) as file:
            file.write(data)
    except OSError as error:
        raise CommandError(f"{path} cannot be written ({error.strerror}); {report.imported} keys were imported all the same.") from None


def _for_this_user(path: str, flags: int) -> int:
    """Open a file that nobody else can read, also where it was there before: the lines may hold tokens."""
    descriptor = os.open(path, flags, 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.fchmod(descriptor, 0o600)
    return descriptor


def _conclude(args: argparse.Namespace, report: Report, session: Session) -> int:
    refused = report.refused
    if args.json:
        session.document({"imported": report.imported, "refused": len(refused), "lines": report.lines})
    else:
        for told in _in_words(refused):
            session.note(told)
        session.say(f"Imported {amount(report.imported, 'key')}; {amount(len(refused), 'line')} refused.")
        if refused and args.refused is not None:
            session.say(f"The refused lines are in {args.refused}.")
    if refused:
        were = "was" if len(refused) == 1 else "were"
        raise CommandError(f"{amount(len(refused), 'line')} {were} refused; mend and import only those again.")
    return 0


def _in_words(refused: list[dict[str, Any]]) -> Iterator[str]:
    """What is wrong with which lines; a row of lines with one fault is told at once, such as the many behind a failure."""
    for _, row in groupby(enumerate(refused), lambda one: (one[1]["line"] - one[0], one[1]["error"])):
        lines = [line for _, line in row]
        first, last = lines[0]["line"], lines[-1]["line"]
        where = f"line {first}" if first == last else f"lines {first} to {last}"
        yield f"{where}: {printable(lines[0]['error'])}"
