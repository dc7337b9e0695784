"""The form of a key: `<prefix>_<43 random characters><6 characters of CRC-32>`, all base62.

The checksum is no secret and no security: it lets typing errors and probes be refused without
asking the store.
"""

from __future__ import annotations

import re
import secrets
import zlib

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
RANDOM_LENGTH = 43
CHECKSUM_LENGTH = 6
"""Characters behind the prefix: 43 of 62 hold 256 bits, 6 hold a CRC-32."""
HUB_KEY_PREFIX = "blocklet-"
"""How the hub's own access keys begin; a client that sends one is told so instead of riding on it."""
SENT = rb"[!-+\--~]+"
"""Pattern of what can be sent as a bearer token: printable ASCII without blank and comma, more than RFC 6750 2.1 allows."""

_SCHEME = re.compile(r"bearer\s+", re.IGNORECASE)
_PAIRS = tuple(first + second for first in ALPHABET for second in ALPHABET)
"""Two digits at a time: whoever tries tokens is to cost little."""


def checksum(text: str) -> str:
    """zlib CRC-32 of `text` in base62, zero-padded to six characters."""
    number, last = divmod(zlib.crc32(text.encode()), len(_PAIRS))
    first, middle = divmod(number, len(_PAIRS))
    return _PAIRS[first] + _PAIRS[middle] + _PAIRS[last]


def generate(prefix: str) -> str:
    """A new key: 43 characters of `0-9A-Za-z` hold 256 random bits."""
    body = f"{prefix}_" + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return body + checksum(body)


def is_well_formed(token: bytes, prefix: str) -> bool:
    """Whether `token` has the form and the checksum of a key with `prefix`."""
    head = f"{prefix}_".encode()
    if len(token) != len(head) + RANDOM_LENGTH + CHECKSUM_LENGTH or not token.startswith(head):
        return False
    # For bytes that means ASCII, which is the whole alphabet.
    if not token[len(head) :].isalnum():
        return False
    return checksum(token[:-CHECKSUM_LENGTH].decode("ascii")).encode() == token[-CHECKSUM_LENGTH:]


def hint(token: str) -> str:
    """What may be shown of a key: its prefix and its last four characters (`ahk_…1c96`)."""
    prefix, separator, _ = token.partition("_")
    return f"{prefix}_…{token[-4:]}" if separator else f"…{token[-4:]}"


def pasted(text: str) -> str:
    """The token in what somebody found and pasted: without the blanks around it and the scheme of its header."""
    found = text.strip()
    scheme = _SCHEME.match(found)
    return found[scheme.end() :] if scheme is not None else found
