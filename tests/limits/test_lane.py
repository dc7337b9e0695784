"""A lane while its key changes: a turn under way is that of the key as it was."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from sidecar.keys.record import Key, Limits
from sidecar.limits.lane import Ask, Lane
from sidecar.limits.turn import Plan, plan


def plan_of(**limits: Any) -> Plan:
    made = plan(Key(id="key_0000000000000001", name="test", created_at=0, limits=Limits(**limits)), "enforce")
    assert made is not None
    return made


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
