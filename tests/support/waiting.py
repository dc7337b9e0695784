"""Waiting on conditions instead of hoping that some time is enough: `wait_until` blocks, `until` lets an event loop go on.

The last look begins when the time is over. So a promise of two seconds is broken by what is asked after two seconds, not by
a busy machine that is slow to say what was true before.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

WITHIN = 30.0
"""Seconds that a busy machine may take for what an idle one does in milliseconds; a test of a promise has the promised number."""


def wait_until(look: Callable[[], Any], *, within: float = WITHIN, what: str = "it") -> Any:
    """The first true answer of `look`; errors of the network count as no."""
    end = time.monotonic() + within
    while True:
        is_last, error = time.monotonic() > end, None
        try:
            if found := look():
                return found
        except OSError as raised:
            error = raised
        if is_last:
            raise AssertionError(f"{what} did not come true within {within:g} s") from error
        time.sleep(0.01)


async def until(look: Callable[[], Any], *, within: float = WITHIN, what: str = "it") -> Any:
    """The same on an event loop; what `look` answers may have to be awaited."""
    end = time.monotonic() + within
    while True:
        is_last, error = time.monotonic() > end, None
        try:
            found = look()
            if found := await found if inspect.isawaitable(found) else found:
                return found
        except OSError as raised:
            error = raised
        if is_last:
            raise AssertionError(f"{what} did not come true within {within:g} s") from error
        await asyncio.sleep(0.005)
