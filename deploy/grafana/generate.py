"""Writes the dashboards: `make docs`. `python -m deploy.grafana.generate --check` tells which are not current."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana import fleet, health, key, security

FOLDER = Path(__file__).resolve().parent / "dashboards"


def texts() -> dict[str, str]:
    """The text of each file of the folder."""
    return {f"{name}.json": _text(made) for name, made in _boards().items()}


def _boards() -> dict[str, Dashboard]:
    return {"fleet": fleet.build(), "key": key.build(), "security": security.build(), "health": health.build()}


def _text(made: Dashboard) -> str:
    return json.dumps(made.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def stale() -> list[str]:
    """The files that are missing, not current, or made by nobody."""
    wanted = texts()
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def main(arguments: list[str]) -> int:
    """Write what is not current, or with --check only name it."""
    wanted, old = texts(), stale()
    for name in old:
        print(name)
        if "--check" in arguments:
            continue
        if name in wanted:
            (FOLDER / name).write_text(wanted[name], encoding="utf-8")
        else:
            (FOLDER / name).unlink()
    return 1 if old and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
