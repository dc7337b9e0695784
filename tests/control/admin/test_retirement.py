"""When the overlap of a rotation can end."""

from __future__ import annotations

import pytest

from sidecar.control.admin.retirement import span, verdict
from sidecar.keys.record import Key, Secret
from sidecar.keys.use import SecretUse, Use

NOW = 1_000_000.0
ROTATED = NOW - 200_000
OLD = Secret("sec_old", "d1", "p", "ahk_…1111", ROTATED - 500, "retiring", NOW + 1000)
CURRENT = Secret("sec_new", "d2", "p", "ahk_…2222", ROTATED)


def use(old: SecretUse | None = None, new: SecretUse | None = None) -> Use:
    pairs = {"sec_old": old, "sec_new": new}
    return Use(NOW, {name: one for name, one in pairs.items() if one is not None})


USED = SecretUse(NOW - 5, 10)


@pytest.mark.parametrize(
    ("one", "safe", "words"),
    [
        (use(), False, "new secret has not been used"),
        (use(SecretUse(ROTATED - 10, 5)), False, "new secret has not been used"),
        (use(None, USED), True, "not been used since the rotation"),
        (use(SecretUse(ROTATED - 10, 5), USED), True, "not been used since the rotation"),
        (use(SecretUse(NOW - 120, 5, ("203.0.113.0/24",), ("curl/8",)), USED), False, "2 minutes ago from 203.0.113.0/24 by curl/8"),
        (use(SecretUse(NOW - 90_000, 5), USED), True, "last used 1 day ago"),
    ],
)
def test_verdict(one: Use, safe: bool, words: str) -> None:
    found = verdict(Key("key_1", "k", 0.0, secrets=(CURRENT, OLD)), one, NOW)
    assert found is not None
    assert found.safe is safe
    assert words in found.reason


def test_nothing_to_retire() -> None:
    assert verdict(Key("key_1", "k", 0.0, secrets=(CURRENT,)), use(), NOW) is None
    assert verdict(Key("key_1", "k", 0.0, secrets=(CURRENT, OLD)), use(None, USED), NOW + 1000) is None
    assert verdict(Key("key_1", "k", 0.0, secrets=(CURRENT, OLD), revoked_at=NOW - 1), use(None, USED), NOW) is None


@pytest.mark.parametrize(("seconds", "text"), [(0.5, "a moment"), (1, "1 second"), (150, "2 minutes"), (7200, "2 hours"), (86400, "1 day")])
def test_span(seconds: float, text: str) -> None:
    assert span(seconds) == text
