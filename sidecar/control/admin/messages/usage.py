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
    request_id: str
    key_id: str
    secret_id: str
    outcome: str
    reason: str
    status: int
    hub_status: int
    method: str
    route: str
    path: str
    model: str
    model_served: str
    client: str
    agent: str
    streaming: bool
    ending: str
    duration_ms: float
    first_byte_ms: float
    overhead_ms: float
    bytes_in: int
    bytes_out: int
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    cache_creation_input_tokens: int
    images: int
    credits: float
    usage_source: str
    shadow: Annotated[str, Meta(description="Why it would have been refused, had enforcement been on.")]
    error: str
    trace_id: str


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
