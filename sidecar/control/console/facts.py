"""What the state of the sidecar is called on the page, and in which unit each figure is shown. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup

from sidecar.control.console import text

Names = Mapping[str, tuple[str, Callable[[Any], str]]]
"""By the name in the API's answer: what people call it, and how it is written."""


def _state(up: bool) -> str:
    return Markup('<span class="badge {0}">{0}</span>').format("up" if up else "down")


def _seconds(value: float) -> str:
    return text.milliseconds(value * 1000)


def _ago(value: float) -> str:
    return f"{_seconds(value)} ago"


PARTS: dict[str, Names] = {
    "store": {
        "up": ("State", _state),
        "failure": ("What is wrong", str),
        "kind": ("Kind", str),
        "version": ("Server", str),
        "on_unavailable": ("While it is away", str),
    },
    "hub": {"url": ("URL", str), "profile": ("Profile", str)},
    "spool": {
        "spools": ("Spools", text.whole),
        "bytes": ("On disk", text.size),
        "backlog_bytes": ("Not counted yet", text.size),
        "dropped": ("Events lost", text.whole),
        "corrupt": ("Damaged segments", text.whole),
        "complaint": ("What is wrong", str),
    },
    "audit": {"waiting": ("Events not in the log yet", text.whole)},
    "versions": {"sidecar": ("Sidecar", str), "python": ("Python", str)},
}
WORKERS: Names = {
    "worker": ("Worker", str),
    "pid": ("PID", str),
    "store_up": ("Store", _state),
    "age_seconds": ("Reported", _ago),
    "in_flight": ("Under way", text.whole),
    "connections": ("Clients", text.whole),
    "hub_connections": ("To the hub", text.whole),
    "drains": ("Draining", text.whole),
    "lease_age_seconds": ("Lease age", _seconds),
    "loop_lag_seconds": ("Loop lag", _seconds),
    "dropped_events": ("Events lost", text.whole),
}


def facts(part: Mapping[str, Any], names: Names) -> list[tuple[str, str]]:
    """What there is to say of `part`, in the order of `names`."""
    return [(label, shown(part[name])) for name, (label, shown) in names.items() if part.get(name) not in (None, "")]


def row(worker: Mapping[str, Any]) -> list[str]:
    """The cells of one worker, under the heads of `WORKERS`."""
    return ["–" if worker.get(name) is None else shown(worker[name]) for name, (_, shown) in WORKERS.items()]
