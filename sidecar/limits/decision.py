"""What the limits say to one request, and how the client is told. Pure data and pure judgement."""

from __future__ import annotations

from typing import Literal

import msgspec

from sidecar import refusals

Reason = Literal["", "rpm", "tpm", "max_concurrency", "quota_requests", "quota_tokens", "quota_reserved"]
"""The limit that refuses; `quota_reserved` is the quota of tokens that is not spent, but wholly kept by requests under way."""


class Window(msgspec.Struct, frozen=True):
    """The state of one limit: `remaining` of `limit` are free now, all of it in `reset` seconds if nothing more is asked."""

    limit: int
    remaining: int
    reset: float


class Counted(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where the store has counted a request as one: what it needs to take that back."""

    at: int
    """Its time among the admissions of the last minute; 0 if it is not there, -1 where there is no such limit."""
    period: str
    """The quota period; empty if it is in none."""


class Admission(msgspec.Struct, frozen=True):
    """The answer to one request. Hand every one that is `allowed` back to `Limiter.release` when the request is over.

    `reason` is the limit that refuses. `shadow` is one that would have refused, were it enforced; the
    event's `shadow` says so. `retry_after` is in seconds, 0 when allowed. `requests` and `tokens` are
    what the rate-limit headers report. `quota_period` goes into the event as it is: by it the ledger
    settles the token quota.
    """

    allowed: bool = True
    reason: Reason = ""
    shadow: Reason = ""
    retry_after: float = 0.0
    requests: Window | None = None
    tokens: Window | None = None
    quota_period: str = ""
    key_id: str = ""
    holds: tuple[str, ...] = ()
    """What the store keeps for this request until it is released; the limiter's own affair."""
    counted: Counted | None = None
    """For `Limiter.withdraw`; None where the request is counted nowhere, as under no limit on requests."""


UNLIMITED = Admission()
"""The answer for a key without limits."""

_WHAT = {
    "rpm": "the requests that it may make in a minute",
    "tpm": "the tokens that it may use in a minute",
    "max_concurrency": "the requests that it may have open at a time",
    "quota_requests": "the requests that its quota allows in this period",
    "quota_tokens": "the tokens that its quota allows in this period",
}
_RESERVED = f"Requests of this API key that are under way have reserved all {_WHAT['quota_tokens']}; try again when one of them is over."

_NO_RETRY = (("x-should-retry", "false"),)


def refusal(admission: Admission) -> refusals.Refused:
    """What to raise for an admission that is not allowed. The rate-limit headers are not in it, they go on every answer."""
    reason = admission.reason
    refused = refusal_of(reason)
    if refused is refusals.INSUFFICIENT_QUOTA:
        # Client libraries would retry a 429 for hours; this header is what stops them.
        return refusals.Refused(refused, f"This API key has used all {_WHAT[reason]}; ask its issuer for more.", headers=_NO_RETRY)
    detail = _RESERVED if reason == "quota_reserved" else f"This API key has used all {_WHAT[reason]}; try again later."
    return refusals.Refused(refused, detail, retry_after=admission.retry_after)


def withdrawn(admission: Admission) -> Admission:
    """An admission as its client is told of it once the request is withdrawn: one more request is left than was said before.

    The tokens that are left stay as they were told, with some reserved for this request: how many a limit that was all but spent
    had for it is not known here.
    """
    counted, window = admission.counted, admission.requests
    if counted is None or window is None:
        return admission
    is_rate = counted.at >= 0
    if not (counted.at if is_rate else counted.period):
        # The window that is shown is of a limit in shadow, which has not counted it.
        return admission
    remaining = min(window.limit, window.remaining + 1)
    # A period ends whatever is counted in it.
    reset = 0.0 if is_rate and remaining == window.limit else window.reset
    return msgspec.structs.replace(admission, requests=Window(window.limit, remaining, reset))


def refusal_of(reason: Reason) -> refusals.Refusal:
    """The row of the refusals' table for a limit's `reason`."""
    return refusals.INSUFFICIENT_QUOTA if reason in ("quota_requests", "quota_tokens") else refusals.RATE_LIMIT_EXCEEDED
