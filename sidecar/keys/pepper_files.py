"""What is wrong with the files of the peppers, as sentences for people. Reads files, and asks no store."""

from __future__ import annotations

import os
from pathlib import Path

from sidecar.keys.digest import load
from sidecar.settings.declaration import Keys

_ABSENT = (FileNotFoundError, NotADirectoryError)


def pepper_faults(keys: Keys) -> list[str]:
    """Why no process could begin with the peppers of `keys`, a sentence each. One that is to be made at the first start is no fault."""
    faults = []
    for setting, file in (("pepper_file", keys.pepper_file), ("previous_pepper_file", keys.previous_pepper_file)):
        try:
            if file:
                load(Path(file))
        except OSError as error:
            is_new = setting == "pepper_file" and isinstance(error, _ABSENT)
            if not is_new:
                faults.append(f"keys.{setting}: {file} cannot be read by user {os.getuid()} ({error.strerror})")
        except ValueError as error:
            faults.append(f"keys.{setting}: {error}")
    return faults


def succession_faults(keys: Keys, running: str) -> list[str]:
    """Why a sidecar that runs with the pepper of id `running` could not go on with those of `keys`, a sentence each.

    To be asked when `pepper_faults` finds none.
    """
    try:
        ids = [load(Path(file)).id for file in (keys.pepper_file, keys.previous_pepper_file) if file]
    except _ABSENT:
        return [
            f"keys.pepper_file: {keys.pepper_file} does not exist, and only a start makes one; correct the path, or bring the file back"
        ]
    if running in ids:
        return []
    advice = "correct the path; to change the pepper, name the file of the one in use as keys.previous_pepper_file and start anew"
    return [f"keys.pepper_file: {keys.pepper_file} holds another pepper than the one in use, and no key would be known; {advice}"]


def obstacle(path: Path) -> str:
    """What keeps the file `path`, which is not there, from being made; empty if nothing is seen to."""
    parent = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    return "" if os.path.isdir(parent) and os.access(parent, os.W_OK | os.X_OK) else f"{parent} is no directory that this user may write"


def unmakeable(file: str, reason: str) -> str:
    """The sentence about a pepper that is not there and that no start can make."""
    return f"keys.pepper_file: {file} does not exist and cannot be made ({reason}); correct the path, or bring the file back"
