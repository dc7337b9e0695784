"""Quotas in the script of one turn: periods, reservations, and what the ledger settles; real server, virtual time."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.keys.record import Limits, Quota
from sidecar.limits.decision import Window
from sidecar.limits.turn import GRACE, LEASE, OtherTime, plan, read_answers, turn
from tests.limits.bench import LIMITS, NOON, SECOND, Bench, ended

BOOKS = ("2027-11:tokens", "2027-11:held", "2027-11:done")


def test_a_quota_rolls_over_at_midnight_of_its_zone_by_the_clock_of_the_store(bench: Bench) -> None:
    key = bench.key(quota=Quota(requests=1, tokens=100, period="day", timezone="Europe/Berlin"))
    midnight = 1_806_188_400 * SECOND  # 2027-03-28T00:00:00+01:00, a day of 23 hours
    assert bench.ask(key, midnight - 1, 100, "a").quota_period == "2027-03-27/a/100"
    assert bench.ask(key, midnight - 1).reason == "quota_requests"
    assert bench.ask(key, midnight, 10, "b").quota_period == "2027-03-28/b/10"
    assert bench.ask(key, midnight + 3600 * SECOND).retry_after == 22 * 3600
    refused = bench.ask(key, midnight + 23 * 3600 * SECOND - 1)
    assert (refused.reason, refused.retry_after) == ("quota_requests", 1.0)
    assert bench.ask(key, midnight + 23 * 3600 * SECOND, 10, "c").quota_period == "2027-03-29/c/10"


def test_a_worker_with_a_wrong_clock_goes_by_the_clock_of_the_store(bench: Bench) -> None:
    key = bench.key(quota=Quota(requests=10, tokens=100, period="day"))
    made = plan(key, "enforce")
    assert made is not None
    for skew in (-20 * 3600, 0, 20 * 3600):
        arguments = turn(made, NOON / SECOND + skew, asking=[("r", 1)], store_time=NOON)
        answer = read_answers(made, bench.runner.run(bench.store.run(LIMITS, made.names, arguments)))[0]
        assert answer.quota_period == "2027-11-24/r/1"


@pytest.mark.parametrize("days", [-40, -2, 2, 40])
def test_a_worker_whose_clock_is_wrong_by_days_is_told_the_time_and_changes_nothing(bench: Bench, days: int) -> None:
    key = bench.key(limits=Limits(max_concurrency=9, rpm=9, tpm=1000), quota=Quota(requests=10, tokens=100, period="day"))
    first = bench.ask(key, NOON, 1, "first")
    bench.run(key, NOON, ended=ended(bench.ask(key, NOON, 1, "second"), 5))
    before = [bench.call("DUMP", name) for name in bench.names(key)]
    made = plan(key, "enforce")
    assert made is not None
    later = NOON + SECOND
    arguments = turn(made, NOON / SECOND + days * 86400, ended=ended(first, 5), renewed=first.holds, asking=[("r", 1)], store_time=later)
    with pytest.raises(OtherTime) as caught:
        read_answers(made, bench.runner.run(bench.store.run(LIMITS, made.names, arguments)))
    assert caught.value.store_time == later / SECOND
    assert [bench.call("DUMP", name) for name in bench.names(key)] == before


def test_a_quota_of_tokens_has_no_gap_between_reserved_and_used(bench: Bench) -> None:
    key = bench.key(quota=Quota(tokens=100))
    first = bench.ask(key, NOON, 100, "a")
    assert bench.ask(key, NOON).reason == "quota_reserved"
    bench.run(key, NOON, ended=ended(first, 60))
    assert bench.counts(key, *BOOKS) == [None, b"60", b"60"]
    second = bench.ask(key, NOON, 40, "b")
    assert second.allowed
    assert second.tokens is not None
    assert (second.tokens.limit, second.tokens.remaining) == (100, 0)
    assert bench.ask(key, NOON).reason == "quota_reserved"
    bench.fold(key, first.quota_period, 60)
    assert bench.counts(key, *BOOKS) == [b"60", b"40", b"0"]
    assert bench.ask(key, NOON).reason == "quota_reserved"


def test_what_was_used_is_kept_when_another_asks_in_the_turn_of_the_end(bench: Bench) -> None:
    """No reservation is left at that moment: what was used stands in for it only once the turn is written."""
    key = bench.key(quota=Quota(tokens=1000))
    first = bench.ask(key, NOON, 100, "a")
    second = bench.ask(key, NOON, 100, "b", ended=ended(first, 900))
    assert second.tokens is not None
    assert (second.allowed, second.tokens.remaining) == (True, 0)
    assert bench.counts(key, *BOOKS) == [None, b"1000", b"900"]
    bench.fold(key, first.quota_period, 900)
    assert bench.counts(key, *BOOKS) == [b"900", b"100", b"0"]
    assert bench.ask(key, NOON).reason == "quota_reserved"


@pytest.mark.parametrize("first", ["worker", "ledger"])
def test_a_quota_is_spent_from_the_end_of_the_request_that_spends_it(bench: Bench, first: str) -> None:
    """Whoever hears of the end first: the worker, which says it at once, or the ledger."""
    key = bench.key(quota=Quota(tokens=50))
    call = bench.ask(key, NOON, 300, "a")
    says = [lambda: bench.run(key, NOON, ended=ended(call, 120)), lambda: bench.fold(key, call.quota_period, 120)]
    for say in says if first == "worker" else reversed(says):
        say()
        assert bench.ask(key, NOON).reason == "quota_tokens"
    assert bench.counts(key, *BOOKS) in ([b"120", b"0", b"0"], [b"120", b"0", None])
    assert bench.call("ZCARD", bench.names(key)[2]) == 0


def test_of_a_request_that_used_none_nothing_is_kept(bench: Bench) -> None:
    key = bench.key(quota=Quota(tokens=50))
    call = bench.ask(key, NOON, 300, "a")
    bench.run(key, NOON, ended=ended(call, None))
    assert bench.ask(key, NOON, 1, "b").tokens.remaining == 49  # type: ignore[union-attr]
    bench.fold(key, call.quota_period, 0)
    assert bench.counts(key, *BOOKS) == [None, b"1", None]


def test_what_was_used_and_is_never_settled_lapses(bench: Bench) -> None:
    """The ledger adds it whenever it comes to it, so that it may never be counted twice."""
    key = bench.key(quota=Quota(tokens=50))
    call = bench.ask(key, NOON, 300, "a")
    bench.run(key, NOON, ended=ended(call, 50))
    later = NOON + int((LEASE + GRACE) * SECOND)
    assert bench.ask(key, later - 1).reason == "quota_tokens"
    assert bench.ask(key, later, 1, "b").allowed
    bench.fold(key, call.quota_period, 50)
    assert bench.counts(key, *BOOKS) == [b"50", b"1", b"0"]


def test_a_renewal_that_is_late_does_not_undo_a_settlement(bench: Bench) -> None:
    key = bench.key(quota=Quota(tokens=100))
    first = bench.ask(key, NOON, 60, "a")
    bench.fold(key, first.quota_period, 10)
    bench.run(key, NOON, renewed=first.holds)
    assert bench.ask(key, NOON, 1, "b").tokens.remaining == 89  # type: ignore[union-attr]


def test_an_event_that_is_folded_after_its_hold_lapsed_still_counts(bench: Bench) -> None:
    key = bench.key(quota=Quota(tokens=100))
    first = bench.ask(key, NOON, 70, "a")
    later = NOON + int((LEASE + GRACE) * SECOND)
    assert bench.ask(key, later, 1, "b").allowed
    bench.fold(key, first.quota_period, 99)
    assert bench.ask(key, later).reason == "quota_reserved"  # by b
    bench.fold(key, first.quota_period, 1)
    assert bench.ask(key, later).reason == "quota_tokens"


def test_what_is_only_reserved_is_not_called_spent(bench: Bench) -> None:
    key = bench.key(quota=Quota(tokens=100, period="day"))
    streams = [bench.ask(key, NOON, 50, name) for name in "ab"]
    refused = bench.ask(key, NOON)
    assert (refused.reason, refused.retry_after, refused.quota_period) == ("quota_reserved", 1.0, "")
    assert refused.tokens == Window(100, 0, 86400 - NOON // SECOND % 86400)
    bench.fold(key, streams[0].quota_period, 99)
    assert bench.ask(key, NOON).reason == "quota_reserved"
    bench.fold(key, streams[1].quota_period, 1)
    refused = bench.ask(key, NOON)
    assert (refused.reason, refused.retry_after) == ("quota_tokens", 86400 - NOON // SECOND % 86400)


@pytest.mark.parametrize(("limits", "reason"), [(Limits(rpm=2), "rpm"), (Limits(tpm=300), "tpm")])
@pytest.mark.parametrize("mode", ["enforce", "shadow"])
def test_what_lasts_longer_than_what_is_reserved_is_told(bench: Bench, limits: Limits, reason: str, mode: Any) -> None:
    """A client that was told to come back in a second would be refused for the rest of the minute."""
    modes = dict.fromkeys(("rpm", "tpm", "quota"), mode)
    key = bench.key(limits=msgspec.structs.replace(limits, enforcement=modes), quota=Quota(tokens=600))
    first, second = bench.ask(key, NOON, 1, "a"), bench.ask(key, NOON, 256, "b")
    bench.run(key, NOON, ended=ended(first, 400))
    refused = bench.ask(key, NOON + 20 * SECOND)
    assert (refused.reason or refused.shadow, refused.retry_after) == (reason, 40.0 if mode == "enforce" else 0.0)
    bench.run(key, NOON + 20 * SECOND, ended=ended(second, 200))
    later = bench.ask(key, NOON + 20 * SECOND)
    assert (later.reason or later.shadow) == "quota_tokens", "spent, which no minute helps"


def test_a_quota_that_is_spent_is_told_up_to_its_end(bench: Bench) -> None:
    key = bench.key(limits=Limits(rpm=1), quota=Quota(requests=1, period="day"))
    midnight = (NOON // SECOND // 86400 + 1) * 86400 * SECOND
    assert bench.ask(key, midnight - 5 * SECOND).allowed
    refused = bench.ask(key, midnight - 4 * SECOND)
    assert (refused.reason, refused.retry_after) == ("quota_requests", 4.0)


def test_in_shadow_what_is_reserved_is_told_from_what_is_spent(bench: Bench) -> None:
    key = bench.key(limits=Limits(enforcement={"quota": "shadow"}), quota=Quota(tokens=100))
    first = bench.ask(key, NOON, 100, "a")
    assert bench.ask(key, NOON).shadow == "quota_reserved"
    bench.fold(key, first.quota_period, 100)
    assert bench.ask(key, NOON).shadow == "quota_tokens"


def test_periods_long_over_are_forgotten_and_do_not_come_back_below_zero(bench: Bench) -> None:
    key = bench.key(quota=Quota(tokens=100, period="day"))
    holds = [bench.ask(key, NOON, 20, name).quota_period for name in "ab"]
    later = NOON + 3 * 86400 * SECOND
    bench.run(key, later, renewed=holds)
    assert bench.ask(key, later, 1, "c").tokens.remaining == 99  # type: ignore[union-attr]
    bench.run(key, later, ended=[(holds[0], None)])
    bench.fold(key, holds[1], 0)
    counts = bench.call("HGETALL", plan(key, "enforce").names[3])  # type: ignore[union-attr]
    assert {field for field in counts if field[:1] == b"2"} == {b"2027-11-27:held"}


def test_a_stream_of_before_a_change_of_the_period_forgets_nothing_of_the_new_one(bench: Bench) -> None:
    """A worker that only renews and ends goes by the key as it was when it was asked last."""
    month = bench.key(limits=Limits(max_concurrency=9), quota=Quota(requests=1000, tokens=1000, period="month"))
    stream = bench.ask(month, NOON, 1, "stream")
    day = msgspec.structs.replace(month, quota=Quota(requests=2, tokens=100, period="day"))
    answers = [bench.ask(day, NOON + SECOND, 10, name) for name in "ab"]
    assert all(answer.allowed for answer in answers)
    bench.fold(day, answers[0].quota_period, 30)
    before = bench.counts(day, "period", "2027-11-24:requests", "2027-11-24:tokens", "2027-11-24:held")
    assert before == [b"2027-11-24", b"2", b"30", b"10"]
    bench.run(month, NOON + 6 * SECOND, renewed=stream.holds)
    assert bench.ask(day, NOON + 7 * SECOND).reason == "quota_requests"
    bench.run(month, NOON + 11 * SECOND, ended=ended(stream, 1))
    assert bench.ask(day, NOON + 12 * SECOND).reason == "quota_requests"
    assert bench.counts(day, "period", "2027-11-24:requests", "2027-11-24:tokens", "2027-11-24:held") == before


@pytest.mark.parametrize("what", ["renewed", "ended", "asking"])
def test_who_knows_of_no_quota_does_not_shorten_how_long_its_use_is_remembered(bench: Bench, what: str) -> None:
    """A stream that began before the quota was given, or a worker that has yet to hear of it."""
    without = bench.key(limits=Limits(max_concurrency=9))
    stream = bench.ask(without, NOON, 1, "stream")
    counts = bench.names(without)[3]
    assert 0 < bench.call("PTTL", counts) < 150_000
    given = msgspec.structs.replace(without, quota=Quota(requests=100, period="month"))
    assert bench.ask(given, NOON + SECOND).allowed
    lives = bench.call("PTTL", counts)
    assert lives > 150_000
    how: dict[str, Any] = {"renewed": list(stream.holds), "ended": list(ended(stream, 1)), "asking": [("late", 1)]}
    bench.run(without, NOON + 2 * SECOND, **{what: how[what]})
    assert bench.call("PTTL", counts) > lives - 60_000
