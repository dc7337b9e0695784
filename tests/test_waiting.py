from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.waiting import until, wait_until


def test_what_is_true_when_the_time_is_over_came_in_time() -> None:
    """One look that takes longer than that proves nothing."""
    answers = iter([0, 7])

    def slow() -> int:
        time.sleep(0.02)
        return next(answers)

    assert wait_until(slow, within=0.01) == 7


async def test_it_is_so_on_an_event_loop_too() -> None:
    answers = iter([0, 7])

    async def slow() -> int:
        await asyncio.sleep(0.02)
        return next(answers)

    assert await until(slow, within=0.01) == 7


async def test_what_does_not_come_true_is_named_with_what_was_in_the_way() -> None:
    def refused() -> bool:
        raise ConnectionRefusedError

    for wait in (
        lambda: asyncio.to_thread(wait_until, refused, within=0.01, what="the answer"),
        lambda: until(refused, within=0.01, what="the answer"),
    ):
        with pytest.raises(AssertionError, match=r"the answer did not come true within 0\.01 s") as failed:
            await wait()
        assert isinstance(failed.value.__cause__, ConnectionRefusedError)
