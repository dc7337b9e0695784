"""What is known of the use of keys, kept apart from their records: a use must not flush every cache.

The fold writes it, one hash for each shard (`names.use`), in the script that moves its position. A value is a
MessagePack map, by key id: secret id → [Unix seconds of the latest use, requests, networks, agents], the lists being
the latest few distinct ones, newest first. The empty id stands for requests that name no secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from sidecar.store import names
from sidecar.store.client import Store
from sidecar.store.stored import UNREADABLE

_decode = msgspec.msgpack.Decoder(dict[str, list[Any]]).decode


@dataclass(frozen=True, slots=True)
class SecretUse:
    """Use of one secret. `networks` and `agents` are the latest few, newest first."""

    last_used_at: float = 0.0
    requests: int = 0
    networks: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Use:
    """Use of one key; `secrets` by secret id."""

    last_used_at: float | None = None
    secrets: dict[str, SecretUse] = field(default_factory=dict)


async def read_uses(store: Store, key_ids: Sequence[str]) -> dict[str, Use]:
    """The use of each key that was ever used, in one trip; raises StoreUnavailable."""
    replies = await store.pipeline([("HGET", names.use(names.shard_of(key_id)), key_id) for key_id in key_ids])
    return {key_id: parse(reply) for key_id, reply in zip(key_ids, replies, strict=True) if reply is not None}


def parse(packed: bytes) -> Use:
    """Read a value; what a newer version added to a list is passed over. What cannot be read counts as no use: it hides no key."""
    try:
        secrets = {secret_id: _secret(*values[:4]) for secret_id, values in _decode(packed).items()}
    except (*UNREADABLE, TypeError, ValueError):
        return Use()
    last = max((secret.last_used_at for secret in secrets.values()), default=None)
    secrets.pop("", None)
    return Use(last, secrets)


def _secret(last_used_at: float, requests: int, networks: Sequence[str], agents: Sequence[str]) -> SecretUse:
    return SecretUse(float(last_used_at), int(requests), tuple(networks), tuple(agents))
