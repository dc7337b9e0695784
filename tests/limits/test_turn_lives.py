"""Clocks that step and names that end, in the script of one turn; real server, virtual time."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from sidecar.keys.record import Limits, Quota
from sidecar.limits.turn import GRACE, LEASE, plan
from tests.limits.bench import NOON, SECOND, Bench, ended


def test_time_does_not_run_backwards_and_a_step_back_of_hours_does_not_block(bench: Bench) -> None:
    key = bench.key(limits=Limits(rpm=1, tpm=1000), quota=Quota(requests=5))
    assert bench.ask(key, NOON, 100, "a").allowed
    assert bench.ask(key, NOON - 9 * SECOND).retry_after == 60.0
    again = bench.ask(key, NOON - 3 * 3600 * SECOND, 100, "b")
    assert again.allowed
    assert again.tokens is not None
    assert again.tokens.remaining == 900
    assert bench.ask(key, NOON - 3 * 3600 * SECOND + 59 * SECOND).retry_after == 1.0
    assert bench.call("HGET", plan(key, "enforce").names[3], "2027-11:requests") == b"2"  # type: ignore[union-attr]


def test_a_step_back_leaves_no_holds_that_nobody_has(bench: Bench) -> None:
    """What runs on renews its holds, which must not count beside those of before the step."""
    key = bench.key(limits=Limits(max_concurrency=4, tpm=1000), quota=Quota(tokens=5000))
    held = [bench.ask(key, NOON, 100, f"r{n}") for n in range(2)]
    before = NOON - 3600 * SECOND
    bench.run(key, before, renewed=[hold for answer in held for hold in answer.holds])
    third = bench.ask(key, before, 100, "r2")
    assert third.tokens is not None
    assert third.tokens.remaining == 700
    assert bench.ask(key, before, 100, "r3").allowed
    assert bench.ask(key, before, 100, "r4").reason == "max_concurrency"
    # Those of before the step have lost what they reserved of the quota; what they used still counts.
    counts = plan(key, "enforce").names[3]  # type: ignore[union-attr]
    assert bench.call("HGET", counts, "2027-11:held") == b"200"
    bench.fold(key, held[0].quota_period, 70)
    assert bench.call("HMGET", counts, "2027-11:held", "2027-11:tokens") == [b"200", b"70"]


def test_a_renewal_after_all_holds_ran_out_counts_them_once(bench: Bench) -> None:
    key = bench.key(limits=Limits(max_concurrency=3, tpm=1000))
    held = bench.ask(key, NOON, 100, "long")
    # The store was away for so long that the name of the holds has run out, but not that of the counts.
    bench.call("DEL", plan(key, "enforce").names[2])  # type: ignore[union-attr]
    later = NOON + 90 * SECOND
    again = bench.run(key, later, renewed=held.holds, asking=[("next", 100)])[0]
    assert again.allowed
    assert again.tokens is not None
    assert again.tokens.remaining == 800
    assert bench.ask(key, later, 100, "third").allowed
    assert bench.ask(key, later, 100, "fourth").reason == "max_concurrency"


def test_every_name_has_an_end(bench: Bench) -> None:
    full = bench.key(limits=Limits(rpm=5, tpm=1000, max_concurrency=5), quota=Quota(requests=5, tokens=1000, period="day"))
    now = int(bench.call("TIME")[0]) * SECOND
    for key, longest in ((full, 2 * 86400), (bench.key(limits=full.limits), 180)):
        answer = bench.ask(key, now, 10, "a")
        bench.run(key, now + 10, ended=ended(answer, 10))
        bench.run(key, now + 20, renewed=answer.holds)
        ages = [bench.call("PTTL", name) / 1000 for name in plan(key, "enforce").names]  # type: ignore[union-attr]
        assert all(0 < age <= longest for age in ages), ages
        assert min(ages) > 59


def nearly_over(bench: Bench, name: str) -> None:
    """As if nothing had set the life of `name` for a long time."""
    assert bench.call("PEXPIRE", name, "5000") == 1


@pytest.mark.parametrize("limits", [Limits(), Limits(max_concurrency=9), Limits(tpm=10_000)])
@pytest.mark.parametrize("pause", [SECOND, 1])
def test_what_is_renewed_lives_on(bench: Bench, limits: Limits, pause: int) -> None:
    """A reservation of a quota comes back by nothing: when its name runs out, others are let in over the quota."""
    key = bench.key(limits=limits, quota=Quota(tokens=1000))
    stream = bench.ask(key, NOON, 900, "stream")
    holds = bench.names(key)[2]
    nearly_over(bench, holds)
    # Also right after another turn, as on a key that is asked for all the time.
    bench.run(key, NOON + pause, renewed=stream.holds)
    assert bench.call("PTTL", holds) > (LEASE + GRACE) * 1000


@pytest.mark.parametrize("asking", [[], [("next", 1)]])
def test_what_a_short_call_used_has_an_end(bench: Bench, asking: list[tuple[str, int]]) -> None:
    """It was the only one, so that its reservation took the name with it; within a tick lives are not set by themselves."""
    key = bench.key(quota=Quota(tokens=1000))
    call = bench.ask(key, NOON, 100, "short")
    bench.run(key, NOON + 20_000, ended=ended(call, 90), asking=asking)
    assert bench.call("PTTL", bench.names(key)[2]) > (LEASE + GRACE) * 1000


def test_nobody_who_is_refused_keeps_names_from_living_as_long_as_what_they_hold(bench: Bench) -> None:
    """On a key that is asked for all the time, those that are let in are rarely the ones whose turn sets lives."""
    key = bench.key(limits=Limits(rpm=60, tpm=1000, max_concurrency=2))
    bench.run(key, NOON, ended=ended(bench.ask(key, NOON, 10, "first"), 10))
    assert all(bench.ask(key, NOON, 10, name).allowed for name in "ab")
    for name in bench.names(key)[:3]:
        nearly_over(bench, name)
    assert bench.ask(key, NOON + SECOND).reason == "max_concurrency"
    rpm, settled, holds = (bench.call("PTTL", name) / 1000 for name in bench.names(key)[:3])
    assert min(rpm, settled) > 60
    assert holds > LEASE + GRACE


@pytest.mark.parametrize("what", ["ends", "renewals", "withdrawals"])
def test_a_turn_in_which_nobody_asks_does_not_take_the_time_at_which_lives_are_set(bench: Bench, what: str) -> None:
    """Who asks as soon as the last answer is here always asks right after the turn that said its end."""
    key = bench.key(limits=Limits(rpm=60, tpm=1000, max_concurrency=5))
    bench.run(key, NOON, ended=ended(bench.ask(key, NOON, 10, "first"), 10))
    second, third = (bench.ask(key, NOON, 10, name) for name in "ab")
    assert second.counted is not None
    for name in bench.names(key)[:3]:
        nearly_over(bench, name)
    said: dict[str, dict[str, Any]] = {
        "ends": {"ended": ended(second, 0)},
        "renewals": {"renewed": third.holds},
        "withdrawals": {"withdrawn": [second.counted]},
    }
    bench.run(key, NOON + SECOND, **said[what])
    assert bench.ask(key, NOON + SECOND + 5000).allowed
    rpm, settled, holds = (bench.call("PTTL", name) / 1000 for name in bench.names(key)[:3])
    assert min(rpm, settled) > 60
    assert holds > LEASE + GRACE


def test_an_authorizer_which_counts_no_places_does_not_take_the_time_at_which_their_lives_are_set(bench: Bench) -> None:
    key = bench.key(limits=Limits(rpm=60, max_concurrency=2))
    bench.ask(key, NOON, 1, "a")
    nearly_over(bench, bench.names(key)[2])
    bench.ask(replace(key, limits=Limits(rpm=60)), NOON + SECOND, 1, "question")
    assert bench.call("PTTL", bench.names(key)[2]) > (LEASE + GRACE) * 1000
