from __future__ import annotations

from sidecar.control.folding.patience import RETRY_FIRST, RETRY_MOST, Patience, ShardsAway
from sidecar.store.client import StoreUnavailable
from tests.support.keys import Clock


def test_what_fails_rests_for_longer_each_time_and_nothing_else_does() -> None:
    clock = Clock()
    patience = Patience(clock)
    waits = []
    for _ in range(6):
        patience.failed("a", StoreUnavailable("gone"))
        began = clock.now
        while patience.rests("a"):
            assert not patience.rests("b")
            clock.now += 0.125
        waits.append(clock.now - began)
    assert RETRY_FIRST <= waits[0] < waits[1] < waits[2] and waits[-2:] == [RETRY_MOST, RETRY_MOST]
    patience.succeeded("a")
    patience.failed("a", StoreUnavailable("gone"))
    clock.now += RETRY_FIRST + 0.01
    assert not patience.rests("a"), "it begins anew"


def test_there_is_a_reason_until_all_have_succeeded() -> None:
    patience = Patience(Clock())
    assert patience.reason is None
    patience.failed("a", first := StoreUnavailable("gone"))
    patience.failed("b", second := StoreUnavailable("full"))
    assert patience.reason is first
    patience.succeeded("a")
    assert patience.reason is second
    patience.succeeded("b")
    assert patience.reason is None


def test_what_rests_by_itself_is_not_waited_for() -> None:
    patience = Patience(Clock())
    patience.failed("a", ShardsAway("one of them"))
    assert not patience.rests("a") and patience.reason is not None


def test_nothing_rests_any_more_in_a_hurry() -> None:
    patience = Patience(Clock())
    patience.failed("a", StoreUnavailable("gone"))
    patience.hurry()
    assert not patience.rests("a") and patience.reason is not None


def test_of_what_was_asked_only_what_failed_rests() -> None:
    patience = Patience(Clock())
    for what in "abc":
        patience.failed(what, StoreUnavailable("gone"))
    patience.heed("bcd", {"c": StoreUnavailable("still gone")})
    assert [patience.rests(what) for what in "abcd"] == [True, False, True, False]
    assert patience.awake(list("abcd")) == ["b", "d"]
    patience.heed("abc", {})
    assert patience.awake(list("abcd")) == list("abcd")
