"""What every process that deals with keys begins with: the peppers, and the memory of the store."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sidecar.keys.adoption import Adoption
from sidecar.keys.digest import Digester, load, load_or_create
from sidecar.settings import Settings
from sidecar.settings.declaration import Keys

EPOCH_FILE = "store-epoch"


@dataclass(frozen=True, slots=True)
class KeySetup:
    """How tokens are digested, and which store is the right one."""

    digester: Digester
    adoption: Adoption


def pepper_faults(keys: Keys) -> list[str]:
    """Why no process could begin with the peppers of `keys`, a sentence each. One that is to be made at the first start is no fault."""
    faults = []
    for setting, file in (("pepper_file", keys.pepper_file), ("previous_pepper_file", keys.previous_pepper_file)):
        try:
            if file and (setting == "previous_pepper_file" or Path(file).exists()):
                load(Path(file))
        except OSError as error:
            faults.append(f"keys.{setting}: {file} cannot be read by user {os.getuid()} ({error.strerror})")
        except ValueError as error:
            faults.append(f"keys.{setting}: {error}")
    return faults


def prepare(settings: Settings) -> KeySetup:
    """Read the pepper files, making the current one at the very first start.

    Raises OSError when a file cannot be read or made, ValueError when one holds too little.
    """
    keys = settings.keys
    pepper = load_or_create(Path(keys.pepper_file))
    previous = load(Path(keys.previous_pepper_file)) if keys.previous_pepper_file else None
    digester = Digester(keys.prefix, pepper, previous, keys.accept_imported)
    return KeySetup(digester, Adoption(Path(settings.data_dir) / EPOCH_FILE, pepper, previous))
