"""Messages about use: sums, series, and the call log."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from sidecar.control.admin.messages.common import Cursor, Document, Request
from sidecar.control.admin.times import Time
from sidecar.control.queries import GroupBy, Step
from sidecar.refusals import Outcome

FROM = {"from_": "from"}
KeyId = Annotated[str, Meta(max_length=20, pattern=r"^key_[0-9A-Za-z]{16}$", description="Id of a key: key_ and 16 letters or digits.")]

From = Annotated[Time, Meta(description="Requests that ended at or after this moment.")]
To = Annotated[Time, Meta(description="Requests that ended before this moment.")]

Width = Annotated[
    Step,
    Meta(description="Width of a point. Of hours that began longer than `usage.minutes` ago, `1m` gives one point, at the first minute."),
]
Grouping = Annotated[GroupBy, Meta(description="A request without a model or without a route is in no group of these, only in the totals.")]
CallLimit = Annotated[
    int, Meta(ge=1, le=1000, description="Calls in a page, at most, 100 when it is left out; in CSV calls in all, and every one then.")
]


class UsageQuery(Request, frozen=True, kw_only=True, rename=FROM):
    """Which use, of one key or of all; without times, all that is kept."""

    from_: From | None = None
    to: To | None = None
    step: Width = "1h"
    group_by: Grouping | None = None


class Totals(Document, frozen=True, kw_only=True):
    """Sums; `requests` counts all outcomes."""

    requests: int = 0
    errors: Annotated[int, Meta(description="Outcomes client_error, hub_error and sidecar_error.")] = 0
    denied: Annotated[int, Meta(description="Outcomes denied and rate_limited.")] = 0
    input_tokens: int = 0
    output_tokens: int = 0
    images: int = 0
    credits: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0


class Point(Totals, frozen=True, kw_only=True):
    """The sums of one step that begins at `time`."""

    time: Time


class UsageGroup(Document, frozen=True, kw_only=True):
    """The use of one value of the grouping."""

    by: str
    name: Annotated[str | UnsetType, Meta(description="The key's name, when grouped by key.")] = UNSET
    totals: Totals
    series: list[Point]


class UsageAnswer(Document, frozen=True, kw_only=True, rename=FROM):
    """Use over [from, to)."""

    from_: Time | None
    to: Time | None
    step: Step
    totals: Totals
    series: list[Point]
    groups: list[UsageGroup] | UnsetType = UNSET


class CallsQuery(Request, frozen=True, kw_only=True, rename=FROM):
    """Filters of the call log."""

    key: KeyId | None = None
    outcome: Outcome | None = None
    from_: From | None = None
    to: To | None = None
    limit: CallLimit | None = None
    cursor: Cursor = ""


class CallObject(Document, frozen=True, kw_only=True):
    """One finished request."""

    time: Annotated[Time, Meta(description="When it ended.")]
    request_id: Annotated[str, Meta(description="The `X-Request-Id` of the answer.")]
    key_id: Annotated[str, Meta(description="Empty without a known key.")]
    secret_id: Annotated[str, Meta(description="Which of the key's secrets.")]
    outcome: Annotated[str, Meta(description="What it counts under in `sidecar_key_requests_total`.")]
    reason: Annotated[str, Meta(description="The code of the refusal, the class of the hub's status (`4xx`), or empty.")]
    status: Annotated[int, Meta(description="What the client was told; 0 when it had left before.")]
    hub_status: Annotated[int, Meta(description="What the hub answered; 0 when it did not.")]
    method: str
    route: Annotated[str, Meta(description="Its name in the profile.")]
    path: Annotated[str, Meta(description="As the client sent it, without query and secrets.")]
    model: Annotated[str, Meta(description="The one that was asked for.")]
    model_served: Annotated[str, Meta(description="The one that the hub says it used.")]
    client: Annotated[str, Meta(description="Address, as `log.client_address` says.")]
    agent: Annotated[str, Meta(description="User-Agent.")]
    streaming: Annotated[bool, Meta(description="Whether the answer was server-sent events.")]
    ending: Annotated[
        str,
        Meta(
            description="complete; refused: by the sidecar; client_closed: the client left; drained: it left, and the answer was read to "
            "its end for its use; hub_aborted: the hub broke off; timeout; revoked: the key or its secret ended meanwhile; shutdown: the "
            "sidecar did; checked: another proxy was told to forward it."
        ),
    ]
    duration_ms: Annotated[float, Meta(description="From the whole head to the last byte.")]
    first_byte_ms: Annotated[float, Meta(description="Until the hub's answer began.")]
    overhead_ms: Annotated[float, Meta(description="What of it was not spent with the hub.")]
    bytes_in: Annotated[int, Meta(description="Of the request's body.")]
    bytes_out: Annotated[int, Meta(description="Of the answer's body.")]
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    cache_creation_input_tokens: int
    images: int
    credits: Annotated[float, Meta(description="In the hub's own unit.")]
    usage_source: Annotated[
        str,
        Meta(
            description="Who told the tokens: hub; partial: the hub, in an answer that broke off; ledger: the hub's list of calls, "
            "later; none: nobody."
        ),
    ]
    shadow: Annotated[str, Meta(description="Why it would have been refused, had enforcement been on.")]
    error: Annotated[str, Meta(description="What broke, or the hub's word for a failure that it hides in a 200.")]
    trace_id: Annotated[str, Meta(description="Of W3C Trace Context; the caller's own where it sent one.")]


class CallList(Document, frozen=True, kw_only=True):
    """A page of the call log, newest first."""

    data: list[CallObject]
    next_cursor: str | None


class ShadowQuery(Request, frozen=True, kw_only=True, rename=FROM):
    """Which part of the call log the report looks at."""

    key: KeyId | None = None
    from_: From | None = None
    to: To | None = None


class ShadowEntry(Document, frozen=True, kw_only=True):
    """A client that enforcement would break."""

    key_id: str
    name: str
    owner: str
    reason: str
    requests: int
    first_seen: Time
    last_seen: Time
    routes: list[str]
    models: list[str]
    clients: list[str]
    agents: list[str]


class ShadowReport(Document, frozen=True, kw_only=True):
    """Who would be refused, most affected first."""

    data: list[ShadowEntry]
    calls: Annotated[int, Meta(description="Calls that the report looked at.")]
    since: Annotated[Time | None, Meta(description="End of the oldest of them.")]
    complete: Annotated[bool, Meta(description="Whether the whole wanted span was looked at.")]
