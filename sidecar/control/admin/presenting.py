"""Keys as clients see them: state at a moment, times in words, nothing secret. Pure."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from sidecar.control.admin.messages import keys as messages
from sidecar.control.admin.times import to_time, to_time_or_none
from sidecar.control.audit import Change
from sidecar.keys import record
from sidecar.keys.use import SecretUse, Use

_NEVER = Use()
_UNUSED = SecretUse()


def key_object(key: record.Key, use: Use | None, now: float) -> messages.KeyObject:
    """`key` at `now`; `use` is None when it was never used."""
    use = use or _NEVER
    throttled = key.throttled_until is not None and now < key.throttled_until
    return messages.KeyObject(
        id=key.id,
        name=key.name,
        owner=key.owner,
        status=record.status(key, now),
        hint=key.secrets[0].hint if key.secrets else "",
        created_at=to_time(key.created_at),
        expires_at=to_time_or_none(key.expires_at),
        last_used_at=to_time_or_none(use.last_used_at),
        allowed_routes=_list(key.allowed_routes),
        allowed_models=_list(key.allowed_models),
        allowed_ips=_list(key.allowed_ips),
        limits=_limits(key.limits),
        quota=_quota(key.quota),
        enforcement=key.enforcement,
        on_anomaly=key.on_anomaly,
        metadata=key.metadata,
        tags=list(key.tags),
        secrets=[secret_object(secret, use, now) for secret in key.secrets],
        revision=key.revision,
        throttled_until=to_time(key.throttled_until) if throttled and key.throttled_until is not None else UNSET,
    )


def secret_object(secret: record.Secret, use: Use | None, now: float) -> messages.SecretObject:
    """`secret` at `now`."""
    used = (use or _NEVER).secrets.get(secret.id, _UNUSED)
    return messages.SecretObject(
        id=secret.id,
        state=secret_state(secret, now),
        created_at=to_time(secret.created_at),
        expires_at=to_time_or_none(secret.expires_at),
        last_used_at=to_time_or_none(used.last_used_at or None),
    )


def secret_use(secret: record.Secret, use: Use | None, now: float) -> messages.SecretUse:
    """`secret` at `now`, and who uses it."""
    used = (use or _NEVER).secrets.get(secret.id, _UNUSED)
    return messages.SecretUse(
        **msgspec.structs.asdict(secret_object(secret, use, now)),
        hint=secret.hint,
        requests=used.requests,
        networks=list(used.networks),
        agents=list(used.agents),
    )


def secret_state(secret: record.Secret, now: float) -> record.SecretState:
    """The state at `now`: the grace of a retiring secret may have ended since it was written."""
    return secret.state if record.secret_is_live(secret, now) else "revoked"


def changes(before: record.Key, after: record.Key, now: float, *only: str) -> dict[str, Change]:
    """What differs between two states of a key, for the audit log; secrets by id and state at `now` only: one that ended by itself
    was not ended by this act.

    With `only` nothing but these members: where an act changes no others, they were changed by somebody else meanwhile.
    """
    old, new = _facts(before, now), _facts(after, now)
    names = sorted(only or old | new)
    return {name: Change(old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}


def created(key: record.Key) -> dict[str, Change]:
    """What a new key is, for the audit log: whatever is not as by default."""
    facts = sorted(_facts(key, key.created_at).items())
    return {name: Change(None, value) for name, value in facts if value not in (None, [], {}, "", False)}


def _facts(key: record.Key, now: float) -> dict[str, Any]:
    facts: dict[str, Any] = {name: value for name, value in msgspec.to_builtins(key).items() if name not in _NO_FACTS}
    for name in ("expires_at", "revoked_at", "throttled_until"):
        time = to_time_or_none(getattr(key, name))
        facts[name] = msgspec.to_builtins(time)
    # Left out as the default, it would stand there as null.
    facts["disabled"] = key.disabled
    facts["secrets"] = [
        {"id": secret.id, "state": secret_state(secret, now), "expires_at": msgspec.to_builtins(to_time_or_none(secret.expires_at))}
        for secret in key.secrets
    ]
    return facts


_NO_FACTS = ("id", "created_at", "secrets", "revision", "version")


def _list(values: tuple[str, ...] | None) -> list[str] | None:
    return None if values is None else list(values)


def _limits(limits: record.Limits) -> messages.Limits:
    # A newer version may know more limits.
    known = {name: mode for name, mode in (limits.enforcement or {}).items() if name in messages.LimitModes.__struct_fields__}
    modes = messages.LimitModes(**known) if known else UNSET
    return messages.Limits(rpm=limits.rpm, tpm=limits.tpm, max_concurrency=limits.max_concurrency, enforcement=modes)


def _quota(quota: record.Quota | None) -> messages.Quota | None:
    return None if quota is None else messages.Quota(**msgspec.structs.asdict(quota))
