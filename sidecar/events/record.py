"""What a worker tells the control process: finished requests, long streams under way, its own state.

One kind is the control process's own: what the hub's ledger says of a call beyond what its answer said.

Fields are only ever appended, each with a default: an older reader ignores what it does not know, a
newer one fills in what is missing, so replicas of two versions can share a store. How events become
bytes is said in `wire.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import add
from typing import Literal

import msgspec
from msgspec.structs import astuple

VERSION = 2
"""Of what the build that wrote a record knew. 1: requests were MessagePack as a whole; 2: figures, traits and ids apart."""

UsageSource = Literal["none", "hub", "partial", "ledger"]
"""Where token counts come from: nowhere, the hub's answer, an answer that broke off, the hub's own ledger."""

Ending = Literal["complete", "refused", "client_closed", "drained", "hub_aborted", "timeout", "revoked", "shutdown", "checked"]
"""`checked`: another proxy was told to forward the request; how that ended is not known here."""


class Tokens(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What the hub says a call used. Counts are tokens; `credits` are the hub's own unit."""

    input: int = 0
    output: int = 0
    cached_input: int = 0
    cache_creation_input: int = 0
    credits: float = 0.0
    images: int = 0


NO_TOKENS = Tokens()


def sum_of(tokens: Iterable[Tokens]) -> Tokens:
    """The sum of `tokens`."""
    sums = astuple(NO_TOKENS)
    for each in tokens:
        sums = tuple(map(add, sums, astuple(each)))
    return Tokens(*sums)


class Interim(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="i"):
    """A stream that has run for another 60 s: what it moved since its last record."""

    time: float
    request_id: str
    key_id: str
    bytes_in: int
    bytes_out: int


class Request(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="r"):
    """One finished request, however it ended.

    `time` is the end, Unix seconds; durations are seconds, `queue` until another proxy had shown the body. `bytes_*` count the
    bytes of bodies that passed between client and hub, as the client saw them; what the sidecar answers itself is none.
    `interim_*` are the bytes that earlier Interim records of this request already reported.
    """

    time: float
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
    total: float
    auth: float
    queue: float
    first_byte: float
    hub_time: float
    bytes_in: int
    bytes_out: int
    tokens: Tokens = NO_TOKENS
    usage_source: str = "none"
    interim_in: int = 0
    interim_out: int = 0
    shadow: str = ""
    trace_id: str = ""
    span_id: str = ""
    secret_state: str = ""
    quota_period: str = ""
    error: str = ""
    version: int = VERSION


class Traits(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What requests of one application mostly have in common: those fields of a Request that are neither figures nor ids."""

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
    usage_source: str
    shadow: str
    secret_state: str
    quota_period: str
    error: str
    version: int = VERSION


def traits_of(request: Request) -> Traits:
    """The traits of one request."""
    return Traits(*[getattr(request, name) for name in Traits.__struct_fields__])


class Ids(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What no two requests have in common."""

    request_id: str
    trace_id: str
    span_id: str


class Reconciled(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="l"):
    """What the hub's ledger has for a call beyond what the call's own record says; at most one for each call.

    `time` is when it was found; `request` is the call as it was recorded, `tokens` what is to be added to its own.
    """

    time: float
    request: Request
    tokens: Tokens
    version: int = VERSION


NO_LEASE = 1e9
"""`lease_age` of a worker that has no lease."""


class WorkerState(msgspec.Struct, array_like=True, frozen=True, tag="w"):
    """Once a second from each worker: what it holds now, and its counters since it started."""

    time: float
    worker: int
    pid: int
    in_flight: dict[str, int]
    lease_age: float
    loop_lag: float
    connections: int
    hub_connections: int
    draining: int
    cache: dict[str, int]
    """Cumulative: hit, miss, negative_hit, stale."""
    store_up: bool
    dropped: int
    """Events that could not be written to the spool, cumulative."""
    counters: dict[str, int] = {}
    """Further cumulative counters by metric name."""
    revocation_lags: list[float] = []
    """Seconds from a key's revocation until it was seen here, for those seen since the last record; of a bulk change not for all."""
    version: int = VERSION


Event = Request | Interim | Reconciled | WorkerState
