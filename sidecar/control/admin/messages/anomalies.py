"""Messages about anomalies; notifications carry an anomaly in the same form."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from msgspec import Meta

from sidecar.control.admin.messages.common import Cursor, Document, Duration, Limit, Reason, Request

State = Literal["open", "acknowledged", "closed"]
Level = Literal["notice", "warn", "page"]
Action = Literal["observe", "notify", "throttle", "disable"]
Moment = Annotated[str, Meta(description="RFC 3339 in UTC, to the second.", extra_json_schema={"format": "date-time"})]
"""As text: what is shown is stored and sent as well."""


class AnomaliesQuery(Request, frozen=True, kw_only=True):
    """Filters of the list of anomalies."""

    key: Annotated[str | None, Meta(description="Id of a key.")] = None
    state: Annotated[State | None, Meta(description="Where its handling stands.")] = None
    level: Level | None = None
    limit: Limit = 100
    cursor: Cursor = ""


class Acknowledgement(Request, frozen=True, kw_only=True):
    """Why an anomaly needs no further attention."""

    reason: Reason = ""


class Mute(Request, frozen=True, kw_only=True):
    """Silences an anomaly's signals for its key for a time."""

    reason: Reason = ""
    duration: Annotated[Duration, Meta(description="For how long; 0s ends it.")] = "24h"


class SignalObject(TypedDict):
    """One signal of an anomaly, with what was seen."""

    signal: Annotated[str, Meta(description="Its name in the manual.")]
    meaning: Annotated[str, Meta(description="What it says; empty of a signal of another version.")]
    weight: Annotated[int, Meta(description="What it adds to the score; of a kind only the heaviest counts.")]
    since: Moment
    evidence: Annotated[str, Meta(description="What was seen, in words.")]
    active: Annotated[bool, Meta(description="Whether it is up now.")]


class UndoCall(TypedDict):
    """The call of this API that takes an automatic act back."""

    method: str
    path: str


class ResponseObject(TypedDict):
    """What was done about a page, or would have been."""

    action: Action
    shadow: Annotated[bool, Meta(description="Only recorded, because `anomaly.shadow` is on.")]
    at: Moment
    until: Annotated[Moment | None, Meta(description="End of a throttle.")]
    failed: Annotated[str | None, Meta(description="Why it could not be done.")]
    undo: UndoCall | None


class AnomalyObject(TypedDict):
    """An episode of unusual use, of one key or of one network that touches many keys."""

    id: str
    state: State
    level: Annotated[Level, Meta(description="The highest that it reached.")]
    score: Annotated[int, Meta(description="The highest that it reached.")]
    subject: Literal["key", "source"]
    key_id: Annotated[str | None, Meta(description="Null for a source.")]
    key_name: str | None
    source: Annotated[str | None, Meta(description="The network; null for a key.")]
    summary: Annotated[str, Meta(description="The evidence in one sentence, the heaviest first.")]
    signals: Annotated[list[SignalObject], Meta(description="The heaviest first.")]
    policy: Annotated[Action | None, Meta(description="What a page is to do, once that is known.")]
    responses: Annotated[list[ResponseObject], Meta(description="The first one and the last 49.")]
    started_at: Moment
    updated_at: Moment
    warned_at: Moment | None
    paged_at: Moment | None
    ended_at: Annotated[Moment | None, Meta(description="When nothing had been up for six hours, or when it was acknowledged.")]
    acknowledged_at: Moment | None
    acknowledged_by: Annotated[str | None, Meta(description="Id of who did.")]
    reason: Annotated[str | None, Meta(description="What was given with the acknowledgement.")]
    muted_until: Moment | None


class AnomalyList(Document, frozen=True, kw_only=True):
    """A page of anomalies, newest first."""

    data: list[AnomalyObject]
    next_cursor: str | None


class AnomalyAnswer(Document, frozen=True, kw_only=True):
    """One anomaly."""

    anomaly: AnomalyObject
