"""What is known of the use of keys, kept apart from their records: a use must not flush every cache.

The fold writes it, one hash for each key (`names.use`), in the script that moves its position:

- `last_used_at`: Unix seconds, as text
- `<secret id>:last_used_at`, `<secret id>:requests`: the same, and a count, for each secret
- `<secret id>:networks`, `<secret id>:agents`: JSON lists of the latest distinct ones, newest first
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from sidecar.store import names
from sidecar.store.client import Store


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
    replies = await store.pipeline([("HGETALL", names.use(key_id)) for key_id in key_ids])
    return {key_id: parse(reply) for key_id, reply in zip(key_ids, replies, strict=True) if reply}


def parse(fields: dict[bytes, bytes]) -> Use:
    """Read the hash; fields that a newer version added are passed over."""
    texts = {name.decode(): value for name, value in fields.items()}
    last = texts.get("last_used_at")
    ids = {name.partition(":")[0] for name in texts if ":" in name}
    return Use(float(last) if last is not None else None, {secret_id: _secret(texts, secret_id) for secret_id in ids})


def _secret(texts: dict[str, bytes], secret_id: str) -> SecretUse:
    def names_of(field_name: str) -> tuple[str, ...]:
        return msgspec.json.decode(texts.get(f"{secret_id}:{field_name}", b"[]"), type=tuple[str, ...])

    return SecretUse(
        float(texts.get(f"{secret_id}:last_used_at", b"0")),
        int(texts.get(f"{secret_id}:requests", b"0")),
        names_of("networks"),
        names_of("agents"),
    )
