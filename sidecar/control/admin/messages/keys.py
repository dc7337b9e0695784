"""Messages about keys. In a change, an absent member stays as it is and null clears it."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from sidecar.control.admin.messages.common import Cursor, Document, Duration, Limit, Name, Owner, Positive, Reason, Request
from sidecar.control.admin.times import Time
from sidecar.keys.ordering import Order
from sidecar.keys.record import Period, SecretState, Status
from sidecar.settings.declaration import Enforcement, OnAnomaly

_Entry = Annotated[str, Meta(min_length=1, max_length=256)]
_Route = Annotated[
    str,
    Meta(
        max_length=256,
        pattern=r"^([a-z0-9][a-z0-9_.-]*|(([A-Z]+|\*) )?/.*)$",
        description="A route or group name, /a/path, or METHOD /a/path; `*` is a segment, `/**` all below.",
    ),
]
Routes = Annotated[
    list[_Route],
    Meta(max_length=256, description="Route names, groups (`chat`), or patterns: `/path/*`, `POST /path/**`. null: any; []: none."),
]
Models = Annotated[list[_Entry], Meta(max_length=256, description="Model names; each `*` matches any part: `*-mini`. null: any; []: none.")]
Networks = Annotated[list[_Entry], Meta(max_length=256, description="Addresses and networks (CIDR), v4 and v6. null: any; []: none.")]
Metadata = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=64)], Annotated[str, Meta(max_length=512)]],
    Meta(max_length=50, description="Yours to use; text to text."),
]
Tags = Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=50)]
Zone = Annotated[
    str,
    Meta(
        max_length=64,
        pattern=r"^[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$",
        description="IANA time zone, such as Europe/Berlin.",
        examples=["UTC", "Europe/Berlin"],
    ),
]


class LimitModes(Request, frozen=True, kw_only=True):
    """Enforcement of single limits; outranks the key's."""

    rpm: Enforcement | UnsetType = UNSET
    tpm: Enforcement | UnsetType = UNSET
    max_concurrency: Enforcement | UnsetType = UNSET
    quota: Enforcement | UnsetType = UNSET


class Limits(Request, frozen=True, kw_only=True):
    """Rates over all workers and replicas; null or absent is unlimited."""

    rpm: Annotated[Positive | None, Meta(description="Requests in any 60 seconds.")] = None
    tpm: Annotated[Positive | None, Meta(description="Tokens in any 60 seconds.")] = None
    max_concurrency: Annotated[Positive | None, Meta(description="Requests under way at a time.")] = None
    enforcement: Annotated[LimitModes | UnsetType | None, Meta(description="Modes for single limits.")] = UNSET


class LimitModesChange(Request, frozen=True, kw_only=True):
    """What changes in the modes of single limits; null: as the key's."""

    rpm: Enforcement | UnsetType | None = UNSET
    tpm: Enforcement | UnsetType | None = UNSET
    max_concurrency: Enforcement | UnsetType | None = UNSET
    quota: Enforcement | UnsetType | None = UNSET


class LimitsChange(Request, frozen=True, kw_only=True):
    """What changes in the limits."""

    rpm: Positive | UnsetType | None = UNSET
    tpm: Positive | UnsetType | None = UNSET
    max_concurrency: Positive | UnsetType | None = UNSET
    enforcement: LimitModesChange | UnsetType | None = UNSET


class Quota(Request, frozen=True, kw_only=True):
    """What a key may use in a calendar period: requests, tokens or both."""

    requests: Positive | None = None
    tokens: Positive | None = None
    period: Period = "month"
    timezone: Zone = "UTC"


class NewKey(Request, frozen=True, kw_only=True):
    """A key to create."""

    name: Name
    owner: Owner = ""
    expires_at: Annotated[Time | None, Meta(description="The key is valid before this moment; null: for ever.")] = None
    disabled: bool = False
    allowed_routes: Routes | None = None
    allowed_models: Models | None = None
    allowed_ips: Networks | None = None
    limits: Limits | None = None
    quota: Quota | None = None
    enforcement: Annotated[Enforcement | None, Meta(description="null: as configured for the sidecar. Keeps no ended key alive.")] = None
    on_anomaly: Annotated[OnAnomaly | None, Meta(description="null: as configured for the sidecar.")] = None
    metadata: Metadata | None = None
    tags: Tags | None = None


class ImportedKey(NewKey, frozen=True, kw_only=True):
    """An existing token, known by its digest only."""

    sha256: Annotated[str, Meta(max_length=64, pattern=r"^[0-9a-fA-F]{64}$", description="SHA-256 of the token, 64 hex digits.")]
    hint: Annotated[str, Meta(max_length=24, pattern=r"^[\x21-\x7e…]*$(?!\n)", description="What may be shown of the token.")] = ""


class KeyChange(Request, frozen=True, kw_only=True):
    """Members to change; absent ones stay, null clears."""

    name: Name | UnsetType = UNSET
    owner: Owner | UnsetType | None = UNSET
    expires_at: Time | UnsetType | None = UNSET
    allowed_routes: Routes | UnsetType | None = UNSET
    allowed_models: Models | UnsetType | None = UNSET
    allowed_ips: Networks | UnsetType | None = UNSET
    limits: LimitsChange | UnsetType | None = UNSET
    quota: Quota | UnsetType | None = UNSET
    enforcement: Enforcement | UnsetType | None = UNSET
    on_anomaly: OnAnomaly | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    tags: Tags | UnsetType | None = UNSET
    throttled_until: Annotated[UnsetType | None, Meta(description="null ends a throttle that an anomaly set.")] = UNSET
    revision: Annotated[int | UnsetType, Meta(description="The change is refused when the key has another revision.")] = UNSET


class Rotation(Request, frozen=True, kw_only=True):
    """How a key is rotated."""

    grace_period: Annotated[Duration, Meta(description="How long old secrets stay valid at most; 0s ends all of them at once.")] = "24h"


class Because(Request, frozen=True, kw_only=True):
    """An act that may be given a reason."""

    reason: Reason = ""


class Leaked(Request, frozen=True, kw_only=True):
    """A token of unknown origin."""

    token: Annotated[str, Meta(min_length=1, max_length=512, description="The whole token; it is digested, never stored or logged.")]


class KeysQuery(Request, frozen=True, kw_only=True):
    """Filters of the list of keys."""

    q: Annotated[str, Meta(max_length=128, description="Case-insensitive prefix of name, owner, id or hint.")] = ""
    status: Status | None = None
    owner: Annotated[str, Meta(max_length=128, description="Exactly this owner.")] = ""
    sort: Annotated[
        Order,
        Meta(description="expires_at: keys that expire, soonest first; last_used_at: keys that were used, latest first."),
    ] = "newest"
    limit: Limit = 50
    cursor: Cursor = ""


class SecretObject(Document, frozen=True, kw_only=True):
    """A secret of a key, without anything secret."""

    id: str
    state: SecretState
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None


class SecretUse(SecretObject, frozen=True, kw_only=True):
    """A secret, and who uses it."""

    hint: str
    requests: int
    networks: list[str]
    agents: list[str]


class KeyObject(Document, frozen=True, kw_only=True):
    """A key."""

    id: str
    name: str
    owner: str
    status: Status
    hint: str
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None
    allowed_routes: list[str] | None
    allowed_models: list[str] | None
    allowed_ips: list[str] | None
    limits: Limits
    quota: Quota | None
    enforcement: Enforcement | None
    on_anomaly: OnAnomaly | None
    metadata: dict[str, str]
    tags: list[str]
    secrets: list[SecretObject]
    revision: int
    throttled_until: Annotated[Time | UnsetType, Meta(description="Only while an anomaly throttles the key.")] = UNSET


class KeyAnswer(Document, frozen=True, kw_only=True):
    """One key."""

    key: KeyObject


class KeyWithSecret(Document, frozen=True, kw_only=True):
    """A key with its new secret, which is never shown again; null when a request was repeated."""

    key: KeyObject
    secret: str | None


class KeyRevoked(Document, frozen=True, kw_only=True):
    """A revoked key."""

    key: KeyObject
    durable: Annotated[
        bool, Meta(description="Whether the revocation would survive the loss of the store's server: it is on disk, or on a replica.")
    ]


class KeyList(Document, frozen=True, kw_only=True):
    """A page of keys, in the order that was asked for."""

    data: list[KeyObject]
    next_cursor: str | None


class Identified(Document, frozen=True, kw_only=True):
    """Whose token it is."""

    key: KeyObject
    secret: SecretObject
    valid: Annotated[bool, Meta(description="Whether the token opens the data plane now.")]


class RetirementVerdict(Document, frozen=True, kw_only=True):
    """Whether the overlap of a rotation can end."""

    safe: bool
    reason: str


class SecretList(Document, frozen=True, kw_only=True):
    """The secrets of a key, newest first."""

    data: list[SecretUse]
    safe_to_retire: Annotated[RetirementVerdict | None, Meta(description="null when no old secret is valid.")]


class ImportedLine(Document, frozen=True, kw_only=True):
    """What became of one line."""

    line: int
    id: str | None
    error: str | None


class ImportReport(Document, frozen=True, kw_only=True):
    """What became of a bulk import."""

    imported: int
    refused: int
    lines: Annotated[list[ImportedLine], Meta(description="Every line, in order; blank lines are left out.")]
