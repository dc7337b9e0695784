"""System calls by a name of its own whatever a running sidecar says of itself."""

from __future__ import annotations

from sidecar.control.console.facts import PARTS, WORKERS
from tests.console.conftest import Console


def test_nothing_is_left_unnamed(console: Console) -> None:
    state = console.sidecar.admin("GET", "/status").json
    assert {name: set(state[name]) for name in PARTS} == {name: set(names) for name, names in PARTS.items()}
    assert all(set(worker) == {*WORKERS, "cache"} for worker in state["workers"]) and state["workers"]
