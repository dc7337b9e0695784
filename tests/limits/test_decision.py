"""How a client is told that a limit is reached."""

from __future__ import annotations

import pytest
from msgspec import structs

from sidecar import refusals
from sidecar.limits.decision import UNLIMITED, Admission, Counted, Reason, Window, refusal, refusal_of, withdrawn

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
        "counted": None,
    }
    assert structs.asdict(UNLIMITED) == {"allowed": True, **fields}


@pytest.mark.parametrize(("reason", "what"), RATES.items())
def test_a_rate_asks_to_come_back(reason: Reason, what: str) -> None:
    refused = refusal(Admission(allowed=False, reason=reason, retry_after=2.5))
    assert (refused.refusal, refused.retry_after, refused.headers) == (refusals.RATE_LIMIT_EXCEEDED, 2.5, ())
    assert refused.detail == f"This API key has used all {what}; try again later."


def test_a_quota_that_requests_under_way_have_reserved_asks_to_come_back() -> None:
    refused = refusal(Admission(allowed=False, reason="quota_reserved", retry_after=1.0))
    assert (refused.refusal, refused.retry_after, refused.headers) == (refusals.RATE_LIMIT_EXCEEDED, 1.0, ())
    assert refused.detail == (
        "Requests of this API key that are under way have reserved all the tokens that its quota allows in this period; "
        "try again when one of them is over."
    )


@pytest.mark.parametrize(
    ("reason", "code"),
    [*dict.fromkeys(QUOTAS, "insufficient_quota").items(), *((rate, "rate_limit_exceeded") for rate in (*RATES, "quota_reserved"))],
)
def test_what_would_have_refused_has_the_code_of_its_refusal(reason: Reason, code: str) -> None:
    assert refusal_of(reason).code == code
    assert refusal(Admission(allowed=False, reason=reason)).refusal.code == code


@pytest.mark.parametrize(("reason", "what"), QUOTAS.items())
def test_a_quota_asks_not_to(reason: Reason, what: str) -> None:
    refused = refusal(Admission(allowed=False, reason=reason, retry_after=86400))
    assert (refused.refusal, refused.retry_after) == (refusals.INSUFFICIENT_QUOTA, None)
    assert refused.headers == (("x-should-retry", "false"),)
    assert refused.detail == f"This API key has used all {what}; ask its issuer for more."


MINUTE, MONTH = 60.0, 86400.0


@pytest.mark.parametrize(
    ("counted", "shown", "then"),
    [
        (None, Window(5, 3, MINUTE), Window(5, 3, MINUTE)),
        (None, None, None),
        (Counted(7, ""), Window(5, 3, MINUTE), Window(5, 4, MINUTE)),
        (Counted(7, "2027-11"), Window(5, 3, MINUTE), Window(5, 4, MINUTE)),
        # None of it is in use.
        (Counted(7, ""), Window(5, 4, MINUTE), Window(5, 5, 0.0)),
        (Counted(-1, "2027-11"), Window(5, 3, MONTH), Window(5, 4, MONTH)),
        (Counted(-1, "2027-11"), Window(5, 4, MONTH), Window(5, 5, MONTH)),
        (Counted(7, ""), Window(5, 5, 0.0), Window(5, 5, 0.0)),
        # The minute is in shadow, would have refused and has counted nothing.
        (Counted(0, "2027-11"), Window(5, 0, 9.5), Window(5, 0, 9.5)),
    ],
)
def test_who_is_withdrawn_is_told_what_is_left_without_him(counted: Counted | None, shown: Window | None, then: Window | None) -> None:
    admission = Admission(requests=shown, tokens=Window(9, 8, 1.0), key_id="key_1", holds=("h",), counted=counted)
    assert withdrawn(admission) == structs.replace(admission, requests=then)
