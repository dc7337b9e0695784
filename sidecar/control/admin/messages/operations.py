"""Messages about anomalies, the audit log, admin tokens, and the sidecar's own state."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from sidecar.control.admin.messages.common import Cursor, Document, Duration, Limit, Name, Reason, Request
from sidecar.control.admin.times import Time
from sidecar.control.audit import Event, Verdict
from sidecar.keys.admin_tokens import Role


class AnomaliesQuery(Request, frozen=True, kw_only=True):
    """Filters of the list of anomalies."""

    key: Annotated[str | None, Meta(description="Id of a key.")] = None
    state: Annotated[Literal["open", "acknowledged", "closed"] | None, Meta(description="Where its handling stands.")] = None
    level: Literal["notice", "warn", "page"] | None = None
    limit: Limit = 100
    cursor: Cursor = ""


class Acknowledgement(Request, frozen=True, kw_only=True):
    """Why an anomaly needs no further attention."""

    reason: Reason = ""


class Mute(Request, frozen=True, kw_only=True):
    """Silences an anomaly's signals for its key for a time."""

    reason: Reason = ""
    duration: Annotated[Duration, Meta(description="For how long; 0s ends it.")] = "24h"


class AnomalyList(Document, frozen=True, kw_only=True):
    """A page of anomalies, newest first."""

    data: list[dict[str, Any]]
    next_cursor: str | None


class AnomalyAnswer(Document, frozen=True, kw_only=True):
    """One anomaly."""

    anomaly: dict[str, Any]


class AuditQuery(Request, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Filters of the audit log."""

    actor: Annotated[str, Meta(max_length=128, description="Id of who acted.")] = ""
    action: Annotated[str, Meta(max_length=64, description="`api_key.revoked`, or a family: `api_key`.")] = ""
    target: Annotated[str, Meta(max_length=128, description="Id of what was acted on.")] = ""
    outcome: Literal["success", "denied", "failure", "unknown"] | None = None
    from_: Annotated[Time | None, Meta(description="At or after this moment.")] = None
    to: Annotated[Time | None, Meta(description="Before this moment.")] = None
    limit: Limit = 100
    # In Python `$` also matches before a line feed at the end; `\Z` would not be understood by readers of the OpenAPI document.
    cursor: Annotated[str, Meta(max_length=16, pattern=r"^[0-9]*$(?!\n)", description="next_cursor of the page before.")] = ""


class AuditEvent(Event, frozen=True, kw_only=True):
    """An event of the audit log with its hash."""

    hash: str = ""


class AuditList(Document, frozen=True, kw_only=True):
    """A page of the audit log, newest first."""

    data: list[AuditEvent]
    next_cursor: str | None


class AuditVerdict(Document, frozen=True, kw_only=True):
    """What recomputing the whole chain found."""

    verdict: Verdict


class NewAdminToken(Request, frozen=True, kw_only=True):
    """An admin token to create."""

    name: Name
    role: Role = "viewer"


class AdminTokenObject(Document, frozen=True, kw_only=True):
    """An admin token, without its secret."""

    id: str
    name: str
    role: Role
    hint: str
    created_at: Time
    last_used_at: Time | None


class AdminTokenList(Document, frozen=True, kw_only=True):
    """Every admin token."""

    data: list[AdminTokenObject]
    next_cursor: None = None


class AdminTokenAnswer(Document, frozen=True, kw_only=True):
    """One admin token."""

    admin_token: AdminTokenObject


class AdminTokenWithSecret(Document, frozen=True, kw_only=True):
    """A new admin token with its secret, which is never shown again."""

    admin_token: AdminTokenObject
    token: str


class ActorObject(Document, frozen=True, kw_only=True):
    """Who is calling."""

    type: str
    id: str
    name: str
    role: Role


class WhoAmI(Document, frozen=True, kw_only=True):
    """The caller of this call."""

    actor: ActorObject
    version: str


class StatusAnswer(Document, frozen=True, kw_only=True):
    """The state of this sidecar."""

    version: str
    time: Time
    store: dict[str, Any]
    hub: dict[str, Any]
    workers: list[dict[str, Any]]
    spool: dict[str, Any]
    audit: dict[str, Any]
    versions: dict[str, Any]
