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


def refusal_of(reason: Reason) -> refusals.Refusal:
    """The row of the refusals' table for a limit's `reason`."""
    return refusals.INSUFFICIENT_QUOTA if reason in ("quota_requests", "quota_tokens") else refusals.RATE_LIMIT_EXCEEDED
