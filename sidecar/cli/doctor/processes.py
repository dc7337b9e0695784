"""What the supervisor of a running sidecar says of its children and of the last reload."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sidecar.cli.doctor.check import Check, fail, ok, warn
from sidecar.supervisor.status import Child, Status, read


def checks(data_dir: Path) -> Iterator[Check]:
    """Every finding; none when the supervisor has said nothing yet."""
    status = read(data_dir)
    if status is not None:
        yield judge_children(status)
    if status is not None and status.last_reload is not None and status.last_reload.faults:
        finding = f"the last one changed nothing: {'; '.join(status.last_reload.faults)}"
        yield warn("reload", finding, "correct the configuration and reload again")


def judge_children(status: Status) -> Check:
    """An address may be held by the supervisor while nobody serves it."""
    away = [child for child in status.children if not child.ready]
    if away and not status.stopping:
        finding = ", ".join(f"{_name(child)} does not serve, and ended {child.restarts} times by itself" for child in away)
        return fail("processes", finding, "look at the sidecar's log")
    restarts = sum(child.restarts for child in status.children)
    return ok("processes", f"{len(status.children)} serve, {restarts} were started again since the sidecar began")


def _name(child: Child) -> str:
    return f"worker {child.index}" if child.role == "worker" else child.role
