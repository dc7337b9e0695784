"""Lua scripts: each is a file in `lua/`, run by its SHA-1 and sent whole only to a server that does not know it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib import resources


@dataclass(frozen=True, slots=True)
class Script:
    """One script; its text names every key it touches in KEYS, all in one hash slot."""

    name: str
    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        # SHA-1 is how the server names scripts; nothing rests on its strength.
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


def load(name: str) -> Script:
    """The script in `lua/<name>.lua`."""
    return Script(name, (resources.files("sidecar.store") / "lua" / f"{name}.lua").read_text(encoding="utf-8"))
