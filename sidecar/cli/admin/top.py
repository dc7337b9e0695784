"""`sidecar top`: which keys are busy now, redrawn in place; one snapshot when there is no terminal to redraw.

Rates are those of the last whole minutes that the usage API has and of the one that runs; nothing is sampled by this command.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

from sidecar.cli.admin import session
from sidecar.cli.admin.api import ApiError
from sidecar.cli.admin.output import Column, table, terminal_width
from sidecar.cli.admin.session import Session, add_command
from sidecar.cli.admin.text import amount, brief, parse_time, printable, shorten, span, width
from sidecar.cli.errors import WRONG_USE, CommandError

WINDOW = timedelta(minutes=5)
_BARS = " ▁▂▃▄▅▆▇█"
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"

_COLUMNS = (
    Column("key", shrinks=True),
    Column("id"),
    Column("req/min", "right"),
    Column("errors", "right"),
    Column("denied", "right"),
    Column("tokens in/min", "right"),
    Column("out/min", "right"),
    Column("bytes out/min", "right"),
    Column("trend"),
)


def add(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(subparsers, "top", top, "live view of the busiest keys", "q or Ctrl-C leaves.")
    parser.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="between two looks (2)")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    return session.run(args)


def top(args: argparse.Namespace, session: Session) -> int:
    """Show the view until the user leaves it; once when standard output is no terminal."""
    if not 0.2 <= args.interval <= 3600:
        raise CommandError("--interval: give seconds from 0.2 to 3600.", WRONG_USE)
    if args.json:
        status, usage = look(session)
        session.document({"time": session.now().isoformat(), "status": status, "usage": usage})
        return 0
    if not (session.redraws(session.out) and session.stdin.isatty()):
        for line in render(*look(session), session.now(), terminal_width(session.out)):
            session.say(line)
        return 0
    with _full_screen(session), suppress(KeyboardInterrupt):
        _redraw(args.interval, session)
    return 0


def _redraw(interval: float, session: Session) -> None:
    """Until the user leaves. Once there is something to see, a sidecar that is away for a moment (a reload) does not end it."""
    lines: list[str] = []
    while True:
        try:
            lines = render(*look(session), session.now(), terminal_width(session.out))
            _draw(lines, session)
        except CommandError as error:
            if not lines or (isinstance(error, ApiError) and error.status in (401, 403)):
                raise
            _draw([f"{session.now():%H:%M:%S} UTC: {printable(str(error))}", "", *lines], session)
        if _left(interval):
            return


def look(session: Session) -> tuple[dict[str, Any], dict[str, Any]]:
    """The sidecar's status and the use of each key over the last minutes."""
    # From a whole minute on: for a part of one the call log is read each time, and where that is short the span is widened.
    start = (session.now() - WINDOW).replace(second=0, microsecond=0)
    usage = session.api.get("/usage", **{"from": start.isoformat(), "step": "1m", "group_by": "key"})
    return session.api.get("/status"), usage


def render(status: dict[str, Any], usage: dict[str, Any], now: datetime, columns: int | None) -> list[str]:
    """The lines of the view, busiest key first. Pure."""
    groups = sorted(usage["groups"], key=lambda group: -group["totals"]["requests"])
    rows = [_row(group, _minutes(usage, now), now) for group in groups]
    lines = table(_COLUMNS, rows, columns)
    if columns is not None and width(lines[0]) > columns:
        # Too narrow for both: the name is what people know, and commands take it as they take the id.
        lines = table((_COLUMNS[0], *_COLUMNS[2:]), [[name if name != "-" else key_id, *rest] for name, key_id, *rest in rows], columns)
    whole = [*(printable(line) for line in _heading(status, usage, now)), "", *lines]
    # A line that wraps takes the place of another: the heading would scroll away.
    return [shorten(line, columns) if columns is not None else line for line in whole]


def _minutes(usage: dict[str, Any], now: datetime) -> float:
    """Minutes that the answer is about: it says when it begins."""
    return max(1.0, (now - parse_time(usage["from"])).total_seconds() / 60)


def _heading(status: dict[str, Any], usage: dict[str, Any], now: datetime) -> Iterator[str]:
    totals, minutes = usage["totals"], _minutes(usage, now)
    yield f"sidecar {status['version']}  {now:%H:%M:%S} UTC  over the last {span(60 * minutes)}"
    yield (
        f"{brief(totals['requests'] / minutes)} requests/min, {brief(totals['errors'])} errors, {brief(totals['denied'])} denied, "
        f"{brief((totals['input_tokens'] + totals['output_tokens']) / minutes)} tokens/min"
    )
    workers, store, spool = status["workers"], status["store"], status["spool"]
    in_flight = sum(worker["in_flight"] for worker in workers)
    leases = [worker["lease_age_seconds"] for worker in workers]
    lease = "no lease" if None in leases or not leases else f"oldest lease {max(leases):.1f} s"
    state = "up" if store["up"] else f"down ({store['failure']})"
    at_work = f"{amount(len(workers), 'worker')}, {amount(in_flight, 'request')} in flight"
    yield f"{at_work}, {lease}, store {state}, backlog {brief(spool['backlog_bytes'])}B"


def _row(group: dict[str, Any], minutes: float, now: datetime) -> list[str]:
    totals = group["totals"]
    return [
        group.get("name") or "-",
        group["by"] or "(no key)",
        brief(totals["requests"] / minutes),
        brief(totals["errors"]),
        brief(totals["denied"]),
        brief(totals["input_tokens"] / minutes),
        brief(totals["output_tokens"] / minutes),
        brief(totals["bytes_out"] / minutes),
        trend(group["series"], now),
    ]


def trend(series: list[dict[str, Any]], now: datetime) -> str:
    """Requests a minute as bars, oldest first, the tallest bar being the busiest minute."""
    counts = [0] * int(WINDOW.total_seconds() // 60 + 1)
    for point in series:
        age = int((now.replace(second=0, microsecond=0) - parse_time(point["time"])).total_seconds() // 60)
        if 0 <= age < len(counts):
            counts[-1 - age] += point["requests"]
    peak = max(counts)
    return "".join(_BARS[-(-number * (len(_BARS) - 1) // peak) if peak else 0] for number in counts)


@contextmanager
def _full_screen(session: Session) -> Iterator[None]:
    """The terminal's second screen, keys unbuffered, all as before at the end."""
    before = termios.tcgetattr(sys.stdin)
    # Killed, the command would leave the terminal without echo and cursor: SIGTERM does what Ctrl-C does.
    handlers = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, signal.default_int_handler),
        signal.SIGTSTP: signal.signal(signal.SIGTSTP, lambda *_: _step_aside(before)),
    }
    try:
        tty.setcbreak(sys.stdin)
        session.out.write(_ENTER)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        session.out.write(_LEAVE)
        session.out.flush()
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _step_aside(before: list[Any]) -> None:
    """Ctrl-Z: give the shell its terminal as it was `before`, and take it again once we go on."""
    # Written past the stream, which may be in the middle of a line.
    os.write(sys.stdout.fileno(), _LEAVE.encode())
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
    os.kill(os.getpid(), signal.SIGSTOP)
    tty.setcbreak(sys.stdin)
    os.write(sys.stdout.fileno(), _ENTER.encode())


def _draw(lines: list[str], session: Session) -> None:
    rows = max(1, _rows() - 1)
    session.out.write(_HOME + "".join(f"{line}{_CLEAR_LINE}\n" for line in lines[:rows]) + _CLEAR_BELOW)
    session.out.flush()


def _rows() -> int:
    return termios.tcgetwinsize(sys.stdout)[0] or 24


def _left(interval: float) -> bool:
    """Wait for the next look; True when the user pressed q meanwhile."""
    end = time.monotonic() + interval
    while (rest := end - time.monotonic()) > 0:
        ready, _, _ = select.select([sys.stdin], [], [], rest)
        if ready and sys.stdin.read(1) in ("q", "Q", ""):
            return True
    return False
