"""A cancellation that is not lost in redis-py.

It uses `asyncio.wait_for`, which before Python 3.12 forgets a cancellation that comes in the same turn of the loop as
what it waits for. A task that holds the lease would go on for ever, and so would whoever waits for its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def heeding(work: Awaitable[T]) -> T:
    """What `work` gives; raises CancelledError where it swallowed one, be it a deadline's or whoever's."""
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    result = await work
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
    return result
