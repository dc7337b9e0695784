"""Deadline queues in virtual time."""

from __future__ import annotations

import asyncio
import time

import pytest
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


@given(st.integers(0, 10**10), st.sampled_from([0.1, 10.0, 75.0, 3600.0]))
def test_whoever_was_armed_at_this_very_moment_is_found(milliseconds: int, patience: float) -> None:
    now = milliseconds / 1000
    queue: DeadlineQueue[str] = DeadlineQueue(patience, lambda: now, lambda _: None)
    queue.arm("a")
    assert queue.take_oldest(0.5) is None
    assert queue.take_oldest() == "a"
    queue.arm("b")
    now += 0.501
    queue.arm("c")
    assert [queue.take_oldest(0.5) for _ in range(2)] == ["b", None]


async def test_the_lag_of_a_blocked_loop_is_told_once() -> None:
    ticker = Ticker(asyncio.get_running_loop())
    ticker.start()
    await asyncio.sleep(TICK / 2)
    time.sleep(0.3)  # noqa: ASYNC251 - to block the loop is the point
    await asyncio.sleep(3 * TICK)
    assert ticker.take_lag() >= 0.2
    assert ticker.take_lag() == 0.0
    ticker.stop()


def test_what_gets_on_does_not_expire_and_what_stands_still_does() -> None:
    now, reached = 0.0, 0
    expired: list[tuple[str, float]] = []
    queue: DeadlineQueue[str] = DeadlineQueue(60.0, lambda: now, lambda item: expired.append((item, now)))
    queue.watch("slow", lambda: reached)
    queue.watch("still", lambda: -7)
    queue.watch("gone", lambda: 0)
    queue.disarm("gone")
    while now < 600.0:
        now += 1.0
        reached += now % 50 == 0
        queue.tick(now)
    ((item, at),) = expired
    assert item == "still" and 60.0 <= at <= 75.0
    while now < 700.0:
        now += 1.0
        queue.tick(now)
    assert [item for item, _ in expired] == ["still", "slow"]
    assert queue.waiting == 0


def test_less_is_no_progress_but_what_comes_after_it_is() -> None:
    """What is counted may fall, when more is written to somebody who takes little."""
    now, values = 0.0, iter([0, -100, -90, -90, -90, -90, -90])
    expired: list[float] = []
    queue: DeadlineQueue[str] = DeadlineQueue(4.0, lambda: now, lambda _: expired.append(now))
    queue.watch("a", lambda: next(values))
    while now < 20.0:
        now += 1.0
        queue.tick(now)
    assert expired == [7.0]


def test_a_watch_starts_anew_and_replaces_a_fixed_time() -> None:
    now = 0.0
    expired: list[float] = []
    queue: DeadlineQueue[str] = DeadlineQueue(4.0, lambda: now, lambda _: expired.append(now))
    queue.arm("a")
    queue.watch("a", lambda: 0)
    assert queue.waiting == 1
    now = 3.0
    queue.tick(now)
    queue.watch("a", lambda: 0)
    for now in (4.0, 5.0, 6.0, 7.0, 8.0):
        queue.tick(now)
    assert expired == [8.0]


def test_a_look_that_fails_ends_no_other_deadline(caplog: pytest.LogCaptureFixture) -> None:
    expired: list[str] = []

    def broken() -> int:
        raise RuntimeError("nobody can tell")

    queue: DeadlineQueue[str] = DeadlineQueue(1.0, lambda: 0.0, expired.append)
    queue.watch("a", broken)
    queue.watch("b", lambda: 0)
    for now in (0.5, 1.0, 2.0):
        queue.tick(now)
    assert expired == ["a", "b"]
    assert "nobody can tell" in caplog.text


def test_an_expiry_that_fails_ends_no_other_deadline(caplog: pytest.LogCaptureFixture) -> None:
    expired: list[str] = []

    def expire(item: str) -> None:
        if item == "a":
            raise ValueError("file descriptor cannot be a negative integer")
        expired.append(item)

    queue: DeadlineQueue[str] = DeadlineQueue(1.0, lambda: 0.0, expire)
    for item in ("a", "b"):
        queue.arm(item)
    queue.tick(2.0)
    assert expired == ["b"]
    assert "ValueError: file descriptor" in caplog.text


async def test_the_ticker_outlives_whatever_happens_in_a_tick() -> None:
    loop = asyncio.get_running_loop()
    ticker = Ticker(loop)
    ticks = 0

    class Broken(DeadlineQueue[str]):
        def tick(self, now: float) -> None:
            nonlocal ticks
            ticks += 1
            raise RuntimeError("broken")

    ticker._queues.append(Broken(1.0, loop.time, lambda _: None))  # type: ignore[arg-type]
    told: list[object] = []
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    ticker.start()
    try:
        async with asyncio.timeout(20):
            while ticks < 2:
                await asyncio.sleep(TICK / 4)
    finally:
        ticker.stop()
        loop.set_exception_handler(None)
    assert isinstance(told[0], RuntimeError)
