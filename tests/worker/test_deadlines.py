"""Deadline queues in virtual time."""

from __future__ import annotations

import asyncio
import time

from hypothesis import given
from hypothesis import strategies as st

from sidecar.worker.deadlines import TICK, DeadlineQueue, Ticker


def test_an_item_expires_once_its_patience_is_over() -> None:
    now = 0.0
    expired: list[str] = []
    queue: DeadlineQueue[str] = DeadlineQueue(10.0, lambda: now, expired.append)
    queue.arm("a")
    now = 5.0
    queue.arm("b")
    queue.arm("a")
    queue.tick(14.9)
    assert expired == []
    queue.disarm("b")
    queue.tick(15.0)
    queue.tick(99.0)
    assert expired == ["a"]


def test_an_expiry_may_disarm_another_of_the_same_tick() -> None:
    expired: list[str] = []

    def expire(item: str) -> None:
        expired.append(item)
        queue.disarm("b")

    queue: DeadlineQueue[str] = DeadlineQueue(1.0, lambda: 0.0, expire)
    queue.arm("a")
    queue.arm("b")
    queue.tick(2.0)
    assert expired == ["a"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["arm", "disarm", "tick"]), st.floats(0, 5)), max_size=40))
def test_it_agrees_with_a_plain_dict_of_deadlines(steps: list[tuple[str, str, float]]) -> None:
    now = 0.0
    expired: list[str] = []
    queue: DeadlineQueue[str] = DeadlineQueue(3.0, lambda: now, expired.append)
    model: dict[str, float] = {}
    told: list[str] = []
    for item, action, pause in steps:
        now += pause
        if action == "arm":
            queue.arm(item)
            model[item] = now + 3.0
        elif action == "disarm":
            queue.disarm(item)
            model.pop(item, None)
        else:
            queue.tick(now)
            due = [name for name, deadline in model.items() if deadline <= now]
            told += due
            model = {name: deadline for name, deadline in model.items() if name not in due}
        assert sorted(expired) == sorted(told)


async def test_the_lag_of_a_blocked_loop_is_told_once() -> None:
    ticker = Ticker(asyncio.get_running_loop())
    ticker.start()
    await asyncio.sleep(TICK / 2)
    time.sleep(0.3)  # noqa: ASYNC251 - to block the loop is the point
    await asyncio.sleep(3 * TICK)
    assert ticker.take_lag() >= 0.2
    assert ticker.take_lag() == 0.0
    ticker.stop()
