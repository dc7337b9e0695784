"""How a client is told that a limit is reached."""

from __future__ import annotations

import pytest
from msgspec import structs

from sidecar import refusals
from sidecar.limits.decision import UNLIMITED, Admission, Reason, refusal

RATES: dict[Reason, str] = {
    "rpm": "the requests that it may make in a minute",
    "tpm": "the tokens that it may use in a minute",
    "max_concurrency": "the requests that it may have open at a time",
}
QUOTAS: dict[Reason, str] = {
    "quota_requests": "the requests that its quota allows in this period",
    "quota_tokens": "the tokens that its quota allows in this period",
}


def test_a_key_without_limits_is_let_through_and_has_nothing_to_report() -> None:
    fields = {
        "reason": "",
        "shadow": "",
        "retry_after": 0.0,
        "requests": None,
        "tokens": None,
        "quota_period": "",
        "key_id": "",
        "holds": (),
    }
    assert structs.asdict(UNLIMITED) == {"allowed": True, **fields}


@pytest.mark.parametrize(("reason", "what"), RATES.items())
def test_a_rate_asks_to_come_back(reason: Reason, what: str) -> None:
    refused = refusal(Admission(allowed=False, reason=reason, retry_after=2.5))
    assert (refused.refusal, refused.retry_after, refused.headers) == (refusals.RATE_LIMIT_EXCEEDED, 2.5, ())
    assert refused.detail == f"This API key has used all {what}; try again later."


@pytest.mark.parametrize(("reason", "what"), QUOTAS.items())
def test_a_quota_asks_not_to(reason: Reason, what: str) -> None:
    refused = refusal(Admission(allowed=False, reason=reason, retry_after=86400))
    assert (refused.refusal, refused.retry_after) == (refusals.INSUFFICIENT_QUOTA, None)
    assert refused.headers == (("x-should-retry", "false"),)
    assert refused.detail == f"This API key has used all {what}; ask its issuer for more."
