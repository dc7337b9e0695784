"""Which limits hold where the end of an answer is not seen."""

from __future__ import annotations

import pytest

from sidecar.keys.record import Key, Limits, Quota
from sidecar.worker.authz.countable import Countable


def key(**fields: object) -> Key:
    return Key("key_1", "app", 0.0, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limits", "quota", "kept_limits", "kept_quota"),
    [
        (Limits(rpm=3, tpm=9), None, Limits(rpm=3, tpm=9), None),
        (Limits(rpm=3, max_concurrency=2), None, Limits(rpm=3), None),
        (Limits(), Quota(requests=5), Limits(), Quota(requests=5)),
        (Limits(), Quota(requests=5, tokens=7, period="day"), Limits(), Quota(requests=5, period="day")),
        (Limits(), Quota(tokens=7), Limits(), None),
    ],
)
def test_what_is_kept(limits: Limits, quota: Quota | None, kept_limits: Limits, kept_quota: Quota | None) -> None:
    kept = Countable().of(key(limits=limits, quota=quota))
    assert (kept.limits, kept.quota) == (kept_limits, kept_quota)


def test_a_key_stays_one_object_and_its_operator_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    countable, limited = Countable(), key(limits=Limits(max_concurrency=1))
    first = countable.of(limited)
    assert countable.of(limited) is first and not first.is_limited
    countable.of(key(limits=Limits(max_concurrency=2)))
    assert len(caplog.records) == 1
    free = key()
    assert countable.of(free) is free
