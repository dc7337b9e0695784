"""The recorded budget of the hot path: what each exchange may cost, and whether it does.

Counts depend on the bytecode, so a budget belongs to one version of Python; other versions get more room.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

FILE = Path(__file__).with_name("budget.json")
ROOM = 0.02
"""How much more than recorded is still the same: a branch more, not a feature more."""
LIGHT = {"builtins": 3.0, "writes": 0.0}
"""How many times that room a count has: a C function is cheap, a write is a system call, and not one more will do."""
ROOM_ELSEWHERE = 0.5
"""The same for another version of Python than the one that the budget was recorded with."""

Counts = Mapping[str, float]


def python() -> str:
    """The version that counts depend on."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def read(file: Path = FILE) -> tuple[str, dict[str, dict[str, float]]]:
    """The version of Python and the counts of each case."""
    recorded = json.loads(file.read_text())
    return recorded["python"], recorded["cases"]


def write(cases: Mapping[str, Counts], file: Path = FILE) -> None:
    """Record what was counted now."""
    rounded = {name: {what: round(value, 2) for what, value in counts.items()} for name, counts in cases.items()}
    file.write_text(json.dumps({"python": python(), "cases": rounded}, indent=2) + "\n")


def excesses(name: str, counted: Counts, recorded: Counts, room: float) -> list[str]:
    """What went beyond the budget of one case, each as a sentence."""
    return [
        f"{name}: {counted[what]:g} {what} instead of {bound:g}"
        for what, bound in recorded.items()
        if counted[what] > bound * (1 + room * LIGHT.get(what, 1.0)) + 0.005
    ]
