"""Takes out of a text what may be a secret, before it is kept or shown: users put keys into paths, model names and agents.

What looks like one is a run of 40 letters and digits, percent-encoded ones too, and the access key of a hub.
"""

from __future__ import annotations

import re
from functools import lru_cache

SHORTEST = 29
"""Characters of the shortest text that can hold something that looks like a secret."""
MARK = "…"
_MARGIN = 512
"""Characters that are looked at beyond what is kept, so that no secret is cut and then not known for one."""

_SECRET = re.compile(r"(?<![0-9A-Za-z])(?:(?:%[2-7][0-9A-Fa-f]|[0-9A-Za-z]){40,}+|(?<=blocklet-)[0-9A-Za-z]{20,}+)")


def without_secrets(text: str, longest: int = 8192) -> str:
    """`text` with a mark in place of everything that looks like a secret; cut to `longest` characters."""
    return text if len(text) < SHORTEST else _searched(text[: longest + _MARGIN])[:longest]


@lru_cache(maxsize=256)
def _searched(text: str) -> str:
    return _SECRET.sub(MARK, text)
