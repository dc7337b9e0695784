"""What every process that deals with keys begins with: the peppers, and the memory of the store."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from sidecar.keys.adoption import Adoption
from sidecar.keys.digest import Digester, load, load_or_create
from sidecar.settings import Settings

EPOCH_FILE = "store-epoch"


@dataclass(frozen=True, slots=True)
class KeySetup:
    """How tokens are digested, and which store is the right one."""

    digester: Digester
    adoption: Adoption


def prepare(settings: Settings, *, level: int = logging.ERROR, only_reads: bool = False) -> KeySetup:
    """Read the pepper files, making the current one at the very first start; `level` and `only_reads` are as for `Adoption`.

    Raises OSError when a file cannot be read or made, ValueError when one holds too little.
    """
    keys = settings.keys
    pepper = load_or_create(Path(keys.pepper_file))
    previous = load(Path(keys.previous_pepper_file)) if keys.previous_pepper_file else None
    digester = Digester(keys.prefix, pepper, previous, keys.accept_imported)
    return KeySetup(digester, Adoption(Path(settings.data_dir) / EPOCH_FILE, pepper, previous, level=level, only_reads=only_reads))
