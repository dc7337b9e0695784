"""A key record as it lies in the store: JSON that a newer version of this program may have added to.

What this version does not know survives its changes; what is newer than it may change is left alone.
"""

from __future__ import annotations

from typing import Any

import msgspec

from sidecar.keys.record import RECORD_VERSION, Key, Limits, Quota, Secret
from sidecar.store.client import StoreUnavailable

_KEY = frozenset(info.encode_name for info in msgspec.structs.fields(Key))
_SECRET = frozenset(info.encode_name for info in msgspec.structs.fields(Secret))
_PARTS = {
    "limits": frozenset(info.encode_name for info in msgspec.structs.fields(Limits)),
    "quota": frozenset(info.encode_name for info in msgspec.structs.fields(Quota)),
}

_decoder = msgspec.json.Decoder(Key)


def decode(record: bytes) -> Key:
    """The key in `record`; raises StoreUnavailable when it is damaged, for then nobody knows what the key may do."""
    try:
        return _decoder.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise StoreUnavailable("a key record in the store is damaged") from None


def is_newer(key: Key) -> bool:
    """Whether only a newer version of this program may change `key`."""
    return key.version > RECORD_VERSION


def encode(key: Key, previous: bytes | None) -> bytes:
    """`key` as a record that replaces `previous`, with everything in it that this version does not know."""
    document: dict[str, Any] = msgspec.to_builtins(key)
    if previous is not None:
        _keep_unknown(document, msgspec.json.decode(previous))
    return msgspec.json.encode(document)


def _keep_unknown(document: dict[str, Any], previous: dict[str, Any]) -> None:
    _carry(document, previous, _KEY)
    for name, known in _PARTS.items():
        if isinstance(previous.get(name), dict) and (name in document or name == "limits"):
            part = document.setdefault(name, {})
            _carry(part, previous[name], known)
            if not part:
                del document[name]
    older = {secret["id"]: secret for secret in previous.get("secrets", [])}
    for secret in document.get("secrets", ()):
        _carry(secret, older.get(secret["id"], {}), _SECRET)


def _carry(new: dict[str, Any], old: dict[str, Any], known: frozenset[str]) -> None:
    new.update({name: value for name, value in old.items() if name not in known})
