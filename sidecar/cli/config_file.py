"""Which configuration file is meant. Apart from `configuration`, so that whoever only needs its place waits for nothing else."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from sidecar.cli.parser import filled

VARIABLE = "SIDECAR_CONFIG"
PLACES = (Path("sidecar.yaml"), Path("/etc/sidecar/sidecar.yaml"))
"""Looked at in this order when neither `-c` nor the variable names a file."""


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add `-c FILE`."""
    places = ", ".join(f"{place}" for place in PLACES)
    told = f"configuration file (default: ${VARIABLE}, else the first of {places})"
    parser.add_argument("-c", "--config", type=filled, metavar="FILE", help=told)


def find(option: str | None, environment: Mapping[str, str]) -> Path | None:
    """The file to read; None when there is none and the defaults hold."""
    named = option or environment.get(VARIABLE)
    return Path(named) if named else next((place for place in PLACES if _may_be_there(place)), None)


def _may_be_there(place: Path) -> bool:
    try:
        return place.is_file()
    except PermissionError:
        # Whoever reads it says why it cannot be read; without it the defaults would hold in silence.
        return True
