"""How records look in answers."""

from __future__ import annotations

from sidecar.control.admin.presenting import key_object
from sidecar.keys.record import Key, Limits


def test_a_limit_that_only_a_newer_version_knows_is_passed_over() -> None:
    key = Key("key_1", "app", 1.0, limits=Limits(rpm=5, enforcement={"rpm": "shadow", "rpd": "off"}))
    shown = key_object(key, None, 2.0)
    assert (shown.limits.rpm, shown.limits.enforcement.rpm) == (5, "shadow")  # type: ignore[union-attr]
    other = key_object(Key("key_2", "app", 1.0, limits=Limits(enforcement={"rpd": "off"})), None, 2.0)
    assert not other.limits.enforcement
