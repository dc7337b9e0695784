from __future__ import annotations

import asyncio
import contextlib

import pytest

from sidecar.store.cancelled import heeding


async def swallowing() -> str:
    """As asyncio.wait_for does, now and then, before Python 3.12."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(30)
    return "answer"


async def test_a_cancellation_that_was_swallowed_is_raised_after_all() -> None:
    task = asyncio.create_task(heeding(swallowing()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=5.0)
    assert task.cancelled()


async def test_a_deadline_that_was_swallowed_is_one_nevertheless() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await heeding(swallowing())


async def test_who_cleans_up_after_a_cancellation_is_answered() -> None:
    async def cleaning_up() -> str:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            return await heeding(asyncio.sleep(0, "answer"))
        return ""

    task = asyncio.create_task(cleaning_up())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "answer"
