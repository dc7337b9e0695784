from __future__ import annotations

from sidecar.control.metrics.counts import OVERFLOW
from sidecar.control.metrics.keys import IDLE, REVOKED_GRACE, LabelledKeys
from sidecar.keys.record import Key

NOW = 1_700_000_000.0


def key(name: str, **changes: object) -> Key:
    return Key(id=name, name=name, created_at=NOW - 10, **changes)  # type: ignore[arg-type]


def test_a_place_is_kept() -> None:
    keys = LabelledKeys(2)
    assert [keys.label(name) for name in ("a", "b", "c", "a", "c")] == ["a", "b", OVERFLOW, "a", OVERFLOW]
    assert keys.unread() == ["a", "b"]


def test_a_revoked_key_goes_after_a_day() -> None:
    keys = LabelledKeys(1)
    keys.put(key("a", revoked_at=NOW), NOW)
    assert keys.label("b") == OVERFLOW
    assert keys.retire(NOW + REVOKED_GRACE - 1) == []
    assert keys.retire(NOW + REVOKED_GRACE) == ["a"]
    keys.put(key("a", revoked_at=NOW), NOW + REVOKED_GRACE)
    assert keys.label("b") == "b"


def test_a_revoked_key_that_is_still_tried_keeps_its_place_until_nobody_tries() -> None:
    keys = LabelledKeys(2)
    late = NOW + 9 * REVOKED_GRACE
    assert keys.label("a") == "a"
    keys.used("a", late)
    keys.put(key("a", revoked_at=NOW), late)
    assert keys.unread() == [], "read once, not every second"
    assert keys.retire(late + REVOKED_GRACE - 1) == []
    assert keys.retire(late + REVOKED_GRACE) == ["a"]


def test_an_idle_key_goes_only_when_others_wait() -> None:
    keys = LabelledKeys(1)
    keys.put(key("a"), NOW)
    keys.used("a", NOW)
    later = NOW + IDLE
    assert keys.retire(later) == []
    keys.label("b")
    assert keys.retire(later - 1) == []
    keys.label("b")
    assert keys.retire(later) == ["a"]
    assert keys.last_used == {}


def test_it_is_crowded_when_not_every_key_would_get_a_place() -> None:
    keys = LabelledKeys(3)
    assert not keys.is_crowded(3) and keys.is_crowded(4)
    keys.put(key("a"), NOW)
    keys.label("b")
    assert not keys.is_crowded(3) and keys.is_crowded(4)
    keys.put(key("c", revoked_at=NOW), NOW)
    assert not keys.is_crowded(2) and keys.is_crowded(3)
    assert (keys.without_place(2), keys.without_place(3), keys.without_place(1)) == (0, 1, 0)


def test_use_is_noted_forwards_only_and_only_for_labelled_keys() -> None:
    keys = LabelledKeys(1)
    keys.label("a")
    for time in (5.0, 9.0, 7.0):
        keys.used("a", time)
    keys.used("b", 1.0)
    assert keys.last_used == {"a": 9.0}
