"""What can be told of a stored JSON record that is not as expected: of a newer version, or damaged. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises over bytes that are not what was asked for."""


def members_of(data: bytes) -> dict[str, Any]:
    """What a record holds, of whichever version; nothing when it is no JSON object."""
    try:
        tree = msgspec.json.decode(data)
    except UNREADABLE:
        return {}
    return tree if isinstance(tree, dict) else {}
