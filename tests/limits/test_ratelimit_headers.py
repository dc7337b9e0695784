"""The rate-limit headers."""

from __future__ import annotations

import pytest

from sidecar.limits.decision import UNLIMITED, Admission, Window
from sidecar.limits.ratelimit_headers import duration, ratelimit_headers


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-1, "0s"),
        (0.0001, "1ms"),
        (0.017, "17ms"),
        (0.25, "250ms"),
        (0.9991, "1s"),
        (1.5, "1.5s"),
        (12, "12s"),
        (59.9999, "1m0s"),
        (60, "1m0s"),
        (60.2, "1m1s"),
        (61, "1m1s"),
        (360, "6m0s"),
        (3600, "1h0m0s"),
        (86399.5, "24h0m0s"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_headers_for_both_kinds() -> None:
    admission = Admission(requests=Window(600, 599, 360.0), tokens=Window(1000, 0, 0.25))
    assert dict(ratelimit_headers(admission)) == {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "599",
        "x-ratelimit-reset-requests": "6m0s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "250ms",
    }


def test_no_headers_without_limits() -> None:
    assert ratelimit_headers(UNLIMITED) == []
