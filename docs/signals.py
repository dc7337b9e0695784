"""Writes the table of signals into the pages and rules that repeat it; the rest of each file is by hand."""

from __future__ import annotations

import re
from pathlib import Path

from sidecar.control.anomaly.detectors.signals import DAY, HOUR, MINUTE, TABLE, Signal

ROOT = Path(__file__).resolve().parents[1]
MANUAL = "docs/anomaly-detection.md"
RULES = "deploy/prometheus/rules/sidecar-keys.yml"

_ROWS = re.compile(r"(?<=\n\|---\|---\|---\|---\|---\|---\|---\|\n)(?:\|.*\n)*")
_KINDS = re.compile(r"(?<=- record: key_kind:sidecar_signal_weight:max\n        expr: \|\n)(?:          .*\n)*")
_ANCHORS = re.compile(r'(?<=sidecar_key_signal_active\{signal=~")[^"]*')
_WEIGHTS = (
    'max by (key_id, signal) (sidecar_key_signal_active{key_id!="_overflow"})',
    "  * on (signal) group_left () max by (signal) (sidecar_signal_weight)",
)


def manual() -> str:
    """docs/anomaly-detection.md with its table of signals."""
    return _put(MANUAL, _ROWS, "".join(_row(signal) for signal in TABLE))


def rules() -> str:
    """The rules of keys, with the signals that share a kind and those that say *somebody else*. Sources have no key, so none of theirs."""
    text = _put(RULES, _KINDS, "\n".join(["          max by (key_id, kind) (", *_by_kind(12), "          )", ""]))
    return _once(_ANCHORS, "|".join(signal.name for signal in TABLE if signal.anchor and signal.kind != "source"), text)


def _row(signal: Signal) -> str:
    anchor, warns = ("yes" if flag else "" for flag in (signal.anchor, signal.warns))
    size, unit = next((size, unit) for size, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")) if signal.hold % size == 0)
    return f"| `{signal.name}` | {signal.weight} | {signal.kind} | {anchor} | {warns} | {signal.hold // size} {unit} | {signal.meaning} |\n"


def _by_kind(indent: int) -> list[str]:
    """The lines of an expression that labels each weight with its kind: the signal's name, unless several share the kind."""
    named: dict[str, list[str]] = {}
    for signal in TABLE:
        if signal.kind != "source":
            named.setdefault(signal.kind, []).append(signal.name)
    lines = [*_WEIGHTS]
    for label in ('"$1", "signal", "(.+)"', *(f'"{kind}", "signal", "{"|".join(names)}"' for kind, names in named.items() if names[1:])):
        lines = ["label_replace(", *(f"  {line}" for line in lines[:-1]), f"  {lines[-1]},", f'  "kind", {label}', ")"]
    return [" " * indent + line for line in lines]


def _put(name: str, place: re.Pattern[str], text: str) -> str:
    return _once(place, text, (ROOT / name).read_text(encoding="utf-8"))


def _once(place: re.Pattern[str], text: str, whole: str) -> str:
    new, count = place.subn(lambda _: text, whole)
    if count != 1:
        raise ValueError(f"the place of {place.pattern} is there {count} times instead of once; put its frame back")
    return new
