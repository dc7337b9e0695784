"""What the limits say to one request, and how the client is told. Pure data and pure judgement."""

from __future__ import annotations

from typing import Literal

import msgspec

from sidecar import refusals

Reason = Literal["", "rpm", "tpm", "max_concurrency", "quota_requests", "quota_tokens"]


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

_NO_RETRY = (("x-should-retry", "false"),)


def refusal(admission: Admission) -> refusals.Refused:
    """What to raise for an admission that is not allowed. The rate-limit headers are not in it, they go on every answer."""
    detail = f"This API key has used all {_WHAT[admission.reason]}"
    if admission.reason.startswith("quota"):
        # Client libraries would retry a 429 for hours; this header is what stops them.
        return refusals.Refused(refusals.INSUFFICIENT_QUOTA, f"{detail}; ask its issuer for more.", headers=_NO_RETRY)
    return refusals.Refused(refusals.RATE_LIMIT_EXCEEDED, f"{detail}; try again later.", retry_after=admission.retry_after)
