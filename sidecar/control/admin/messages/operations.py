"""Messages about the audit log, admin tokens, and the sidecar's own state."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from msgspec import Meta

from sidecar.control.admin.messages.common import Document, Limit, Name, Request
from sidecar.control.admin.times import Time
from sidecar.control.audit import Event, Verdict
from sidecar.keys.admin_tokens import Role


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


class StoreState(TypedDict):
    """The key store, as the control process sees it."""

    kind: Annotated[str, Meta(description="How `store.url` begins: embedded, redis, unix, …")]
    up: bool
    failure: Annotated[str, Meta(description="Why it does not answer, or is not the one that is known; empty when all is well.")]
    on_unavailable: Literal["refuse", "serve_cached"]
    version: NotRequired[Annotated[str, Meta(description="`valkey 9.1.2`; absent while it does not answer.")]]


class HubState(TypedDict):
    """The hub, as configured: nobody asks it."""

    url: str
    profile: str


class WorkerObject(TypedDict):
    """A worker, by its last report; one that has not reported for 3 seconds is not listed."""

    worker: int
    pid: int
    age_seconds: Annotated[float, Meta(description="Of the report.")]
    in_flight: Annotated[int, Meta(description="Requests under way.")]
    lease_age_seconds: Annotated[
        float | None, Meta(description="Age of its proof that it has seen every change of a key; null without one.")
    ]
    loop_lag_seconds: Annotated[float, Meta(description="How late its event loop ran in the last second.")]
    connections: Annotated[int, Meta(description="Open client connections.")]
    hub_connections: int
    drains: Annotated[int, Meta(description="Answers that are read on for their use after the client has gone.")]
    store_up: Annotated[bool, Meta(description="Whether the store answers it.")]
    dropped_events: Annotated[int, Meta(description="Records of requests that the disk did not allow, since it started.")]
    cache: Annotated[dict[str, int], Meta(description="Look-ups in its memory of keys by result, since it started.")]


class SpoolState(TypedDict):
    """The records of requests on their way to the store."""

    spools: int
    bytes: Annotated[int, Meta(description="Disk that they take.")]
    backlog_bytes: Annotated[int, Meta(description="What of it the store does not have yet.")]
    dropped: Annotated[int, Meta(description="Records that were lost because the disk or `spool.max_bytes` did not allow them.")]
    corrupt: Annotated[int, Meta(description="Damaged stretches that were put aside.")]
    complaint: Annotated[str, Meta(description="Why what was used is not all read, or not all taken by the store; empty while it is.")]


class AuditState(TypedDict):
    """The audit log."""

    waiting: Annotated[int, Meta(description="Acts that are journalled and not known to be safely in the log yet.")]


class Versions(TypedDict):
    """What runs."""

    sidecar: str
    python: str


class StatusAnswer(Document, frozen=True, kw_only=True):
    """The state of this sidecar."""

    version: str
    time: Time
    store: StoreState
    hub: HubState
    workers: list[WorkerObject]
    spool: SpoolState
    audit: AuditState
    versions: Versions
