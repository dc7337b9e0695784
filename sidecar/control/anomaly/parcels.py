"""What replicas hand each other through the store, encrypted with the pepper where the store is to have no client's address.

A server writes what it is given to its disk and to its replicas, however soon it is taken out again.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable

from sidecar.keys.digest import Pepper

_MARK = b"\xc1"
"""The one byte with which no MessagePack begins: what replicas send in the clear does."""
_NONCE_BYTES = 16


class Parcels:
    """Wraps with the first of `peppers`, unless told not to, and opens what any of them has wrapped."""

    def __init__(self, peppers: Iterable[Pepper] = (), *, wraps: bool = False) -> None:
        self._peppers = tuple(peppers)
        self._wraps = wraps

    def wrap(self, data: bytes) -> bytes:
        """`data` as it is handed over."""
        if not self._wraps:
            return data
        pepper, nonce = self._peppers[0], secrets.token_bytes(_NONCE_BYTES)
        return b"".join((_MARK, bytes.fromhex(pepper.id), nonce, _masked(data, pepper, nonce)))

    def open(self, data: bytes) -> bytes:
        """What was wrapped, here or by another replica; what is not wrapped, or by an unknown pepper, as it is."""
        for pepper in self._peppers:
            head = _MARK + bytes.fromhex(pepper.id)
            if data.startswith(head):
                begin = len(head) + _NONCE_BYTES
                return _masked(data[begin:], pepper, data[len(head) : begin])
        return data


def _masked(data: bytes, pepper: Pepper, nonce: bytes) -> bytes:
    """`data` wrapped, and the other way round."""
    mask = hashlib.shake_256(b"anomaly inbox" + pepper.key + nonce).digest(len(data))
    return (int.from_bytes(data) ^ int.from_bytes(mask)).to_bytes(len(data))
