"""A key as it is stored: what it may do, and the secrets that open it. Pure data and pure judgement.

Times are Unix seconds. `None` in an allow-list means any, an empty tuple means none.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from sidecar.settings.declaration import Enforcement, OnAnomaly

Status = Literal["active", "disabled", "expired", "revoked"]
SecretState = Literal["current", "retiring", "revoked"]
Period = Literal["day", "week", "month"]

RECORD_VERSION = 1
"""Of the records that this program writes. One of a later version is read here, and changed only by a program that knows it."""


class Secret(msgspec.Struct, frozen=True, omit_defaults=True):
    """One secret of a key; only its keyed digest is known.

    `pepper_id` says what keyed the digest: the id of a pepper, or `sha256` for an imported secret
    that has not been used yet. A retiring secret is valid while now < `expires_at`.
    """

    id: str
    digest: str
    pepper_id: str
    hint: str
    created_at: float
    state: SecretState = "current"
    expires_at: float | None = None
    retired_at: float | None = None
    """When a rotation made it `retiring`."""


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rates that hold over all workers and replicas; None is unlimited."""

    rpm: int | None = None
    tpm: int | None = None
    max_concurrency: int | None = None
    enforcement: dict[str, Enforcement] | None = None
    """A mode for a single limit (`rpm`, `tpm`, `max_concurrency`), which outranks the key's."""


class Quota(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a key may use in a calendar period of a time zone."""

    requests: int | None = None
    tokens: int | None = None
    period: Period = "month"
    timezone: str = "UTC"


class Key(msgspec.Struct, frozen=True, omit_defaults=True):
    """A key; `id` survives rotation and says nothing of any secret."""

    id: str
    name: str
    created_at: float
    owner: str = ""
    secrets: tuple[Secret, ...] = ()
    disabled: bool = False
    revoked_at: float | None = None
    expires_at: float | None = None
    allowed_routes: tuple[str, ...] | None = None
    allowed_models: tuple[str, ...] | None = None
    allowed_ips: tuple[str, ...] | None = None
    limits: Limits = Limits()
    quota: Quota | None = None
    enforcement: Enforcement | None = None
    on_anomaly: OnAnomaly | None = None
    throttled_until: float | None = None
    """Set by the anomaly response `throttle`: until then every request is refused with abnormal_usage_detected."""
    metadata: dict[str, str] = {}
    tags: tuple[str, ...] = ()
    revision: int = 1
    version: int = RECORD_VERSION

    def secret(self, digest: str) -> Secret | None:
        """The secret with this digest."""
        return next((secret for secret in self.secrets if secret.digest == digest), None)

    @property
    def is_limited(self) -> bool:
        """Whether a request must ask the store for admission."""
        limits = self.limits
        return self.quota is not None or not limits.rpm is limits.tpm is limits.max_concurrency is None


def status(key: Key, now: float) -> Status:
    """The one word for a key's state at `now`: revoked outranks expired outranks disabled."""
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and now >= key.expires_at:
        return "expired"
    return "disabled" if key.disabled else "active"


def secret_is_live(secret: Secret, now: float) -> bool:
    """Whether `secret` still opens its key at `now`."""
    return secret.state != "revoked" and (secret.expires_at is None or now < secret.expires_at)
