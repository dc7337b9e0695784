"""What leads to a key in a list: the sorted sets, and the entries that a key has in them. Pure.

A line is `<id>\\0<owner>\\0<text>\\0<text>…`: with it a walk can pass over keys without reading their records.
"""

from __future__ import annotations

from typing import Final

from sidecar.keys.record import Key
from sidecar.store import names

CREATED: Final = names.index("created")
"""Lines of all keys, by creation."""
DISABLED: Final = names.index("disabled")
REVOKED: Final = names.index("revoked")
"""Lines of the keys that are disabled and of those that are revoked, by creation."""
EXPIRES: Final = names.index("expires")
"""`<created>\\0<id>` of keys that expire, by when."""
TEXT: Final = names.index("text")
"""`<text>\\0<created>\\0<id>` for everything that a search may begin with, in the order of the alphabet."""
OWNER: Final = names.index("owner")
"""`<owner>\\0<created>\\0<id>`, in the order of the alphabet."""
NAME: Final = names.index("name")
"""`<folded name>\\0<created>\\0<id>`, in the order of the alphabet."""

SEPARATOR: Final = "\0"

Entry = tuple[str, str, float]
"""Set, member, score."""


def entries(key: Key) -> set[Entry]:
    """Everything that leads to `key`."""
    found = texts(key)
    owner = plain(key.owner)
    end = SEPARATOR + expiry_entry(key)
    line = SEPARATOR.join((key.id, owner, *sorted(found)))
    led: set[Entry] = {(TEXT, text + end, 0.0) for text in found}
    led |= {(CREATED, line, key.created_at), (OWNER, owner + end, 0.0), (NAME, name_entry(key), 0.0)}
    if key.revoked_at is not None:
        led.add((REVOKED, line, key.created_at))
    if key.disabled:
        led.add((DISABLED, line, key.created_at))
    if key.expires_at is not None:
        led.add((EXPIRES, expiry_entry(key), key.expires_at))
    return led


def name_entry(key: Key) -> str:
    """What stands for `key` in NAME."""
    return fold(key.name) + SEPARATOR + expiry_entry(key)


def expiry_entry(key: Key) -> str:
    """What stands for `key` in EXPIRES."""
    return f"{key.created_at!r}{SEPARATOR}{key.id}"


def texts(key: Key) -> set[str]:
    """What a search for `key` may begin with, folded: name, owner, id, and the hints of all its secrets, whole and their ends."""
    hints = [secret.hint for secret in key.secrets]
    return {fold(text) for text in (key.name, key.owner, key.id, *hints, *(hint[-4:] for hint in hints))} - {""}


def is_found(key: Key, prefix: str) -> bool:
    """Whether the folded `prefix` begins name, owner, id or a hint of `key`, or is the whole end of a hint.

    The beginning of such an end says nothing: every short search would find some keys by chance.
    """
    hints = [fold(secret.hint) for secret in key.secrets]
    begun = [fold(key.name), fold(key.owner), fold(key.id), *hints]
    if any(text.startswith(prefix) for text in begun):
        return True
    dotted = dots(prefix)
    return any(hint.startswith(dotted) or hint[-4:] == prefix for hint in hints)


def dots(prefix: str) -> str:
    """`prefix` as a hint has it, where `...` was typed for its `…`."""
    return prefix.replace("...", "…")


def fold(text: str) -> str:
    """`text` as it is compared: without case, and no separator."""
    return plain(text.casefold())


def plain(text: str) -> str:
    """`text` without the separator."""
    return text.replace(SEPARATOR, "")
