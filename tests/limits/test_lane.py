"""A lane while its key changes: a turn under way is that of the key as it was."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import msgspec
import pytest

from sidecar.keys.record import Key, Limits, Quota
from sidecar.limits.decision import Counted
from sidecar.limits.lane import Ask, End, Lane
from sidecar.limits.turn import OtherTime, Plan, plan, turn


def plan_of(quota: Quota | None = None, **limits: Any) -> Plan:
    made = plan(Key(id="key_0000000000000001", name="test", created_at=0, limits=Limits(**limits), quota=quota), "enforce")
    assert made is not None
    return made


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def asked(lane: Lane) -> Ask:
    ask = Ask("r", 100, asyncio.get_running_loop().create_future())
    lane.asking.append(ask)
    return ask


async def test_an_answer_is_that_to_the_limits_that_were_asked_for() -> None:
    lane = Lane(plan_of(tpm=1000))
    ask = asked(lane)
    lane.begin(0.0)
    lane.plan = plan_of(rpm=5, tpm=2000)
    # What the script says of a limit that it was not told of is -1.
    lane.finish(msgspec.msgpack.encode([["", "", 0, ["tpm/r/100"], -1, 0, 900, 60_000_000, -1, -1, 0]]), 0.0)
    answer = ask.answer.result()
    assert answer.requests is None
    assert answer.tokens is not None
    assert (answer.tokens.limit, answer.tokens.remaining) == (1000, 900)


async def test_what_a_lost_answer_may_have_taken_is_given_back_though_the_limit_is_gone() -> None:
    lane = Lane(plan_of(max_concurrency=1))
    ask = asked(lane)
    lane.begin(0.0)
    lane.plan = plan_of(rpm=5)
    lane.fail(TimeoutError(), 0.0)
    assert [end.hold for end in lane.ending] == ["slots/r/1"]
    assert isinstance(ask.answer.exception(), TimeoutError)


async def test_a_lost_answer_may_have_taken_both_or_what_is_not_in_shadow_of_them() -> None:
    lane = Lane(plan_of(max_concurrency=1, tpm=100))
    asked(lane)
    lane.begin(0.0)
    lane.fail(TimeoutError(), 0.0)
    assert {end.hold.partition("/")[0] for end in lane.ending} == {"slots", "tpm", "slots+tpm"}


async def test_of_a_turn_that_got_no_answer_only_ends_are_said_again() -> None:
    lane = Lane(plan_of(tpm=100))
    lane.ending.append(End("tpm/before/7", 7, 0.0))
    lane.withdrawing.append(Counted(7, ""))
    assert lane.has_work
    lane.begin(0.0)
    lane.withdrawing.append(Counted(8, ""))
    lane.fail(TimeoutError(), 0.0)
    assert [end.hold for end in lane.ending] == ["tpm/before/7"]
    assert lane.withdrawing == [Counted(8, "")]


async def test_what_was_withdrawn_is_said_once_and_then_the_lane_can_be_forgotten() -> None:
    lane = Lane(plan_of(rpm=5))
    lane.withdrawing += [Counted(number, "") for number in range(300)]
    said = []
    while lane.has_work:
        assert not lane.is_idle
        said.append(len(msgspec.msgpack.decode(lane.begin(0.0)[-1])[3]))  # type: ignore[arg-type]
        lane.finish(msgspec.msgpack.encode([]), 0.0)
    assert said == [256, 44]
    assert lane.is_idle


def other_time(lane: Lane, store_time: float) -> bool:
    with pytest.raises(OtherTime) as caught:
        lane.finish(msgspec.msgpack.encode(int(store_time * 1_000_000)), 0.0)
    return lane.repeat(caught.value.store_time)


async def test_a_turn_of_a_host_with_a_wrong_clock_is_said_again_by_the_time_of_the_store() -> None:
    lane = Lane(plan_of(quota=Quota(requests=5, period="day"), tpm=1000))
    ask = asked(lane)
    lane.ending.append(End("tpm/before/7", 7, 0.0))
    lane.withdrawing.append(Counted(7, "2026-11-24"))
    first = lane.begin(at("2026-11-20T12:00:00Z"))
    assert other_time(lane, at("2026-11-24T13:00:00Z"))
    again = lane.begin(at("2026-11-20T12:00:01Z"))
    assert ("2026-11-21" in str(first[3]), "2026-11-24" in str(first[3])) == (True, False)
    assert "2026-11-24" in str(again[3])
    assert again[-1] == first[-1]  # who ended, who came to nothing and who asks
    # Such a clock is wrong for the next turn too, which is told the right time at once.
    lane.finish(msgspec.msgpack.encode([["", "", 0, ["tpm/r/100"], -1, 0, 900, 60_000_000, 4, -1, 1]]), 0.0)
    assert ask.answer.result().allowed
    asked(lane)
    assert "2026-11-24" in str(lane.begin(at("2026-11-20T12:00:02Z"))[3])


async def test_a_clock_that_runs_wild_does_not_have_a_turn_go_round_for_ever() -> None:
    lane = Lane(plan_of(quota=Quota(requests=5, period="day"), max_concurrency=1))
    asked(lane)
    lane.begin(at("2026-11-20T12:00:00Z"))
    assert other_time(lane, at("2026-11-24T13:00:00Z"))
    lane.begin(at("2026-11-20T12:00:00Z"))
    assert not other_time(lane, at("2027-11-24T13:00:00Z"))
    lane.fail(OtherTime(0.0), 0.0)
    assert [end.hold for end in lane.ending] == ["slots/r/1"]
    # The next turn may be repeated again.
    asked(lane)
    lane.begin(at("2026-11-20T12:00:00Z"))
    assert other_time(lane, at("2027-11-24T13:00:00Z"))


def test_only_who_asks_offers_periods() -> None:
    made = plan_of(quota=Quota(requests=5), max_concurrency=1)
    assert turn(made, 0.0, asking=[("r", 1)])[3] != ""
    assert turn(made, 0.0, ended=[("slots/r/1", 1)], renewed=["slots/s/1"])[3] == ""
