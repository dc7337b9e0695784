"""How a client is told that a limit is reached."""

from __future__ import annotations

import pytest

from sidecar import refusals
from sidecar.limits.decision import Admission, Reason, refusal


@pytest.mark.parametrize("reason", ["rpm", "tpm", "max_concurrency"])
def test_a_rate_asks_to_come_back(reason: Reason) -> None:
    refused = refusal(Admission(allowed=False, reason=reason, retry_after=2.5))
    assert (refused.refusal, refused.retry_after, refused.headers) == (refusals.RATE_LIMIT_EXCEEDED, 2.5, ())


@pytest.mark.parametrize("reason", ["quota_requests", "quota_tokens"])
def test_a_quota_asks_not_to(reason: Reason) -> None:
    refused = refusal(Admission(allowed=False, reason=reason, retry_after=86400))
    assert (refused.refusal, refused.retry_after) == (refusals.INSUFFICIENT_QUOTA, None)
    assert refused.headers == (("x-should-retry", "false"),)
