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
        began, error = time.monotonic(), None
        try:
            if found := look():
                return found
        except OSError as raised:
            error = raised
        if began > end:
            raise AssertionError(f"{what} did not come true within {within:g} s") from error
        time.sleep(_pause(0.01, began))


async def until(look: Callable[[], Any], *, within: float = WITHIN, what: str = "it") -> Any:
    """The same on an event loop; what `look` answers may have to be awaited."""
    end = time.monotonic() + within
    while True:
        began, error = time.monotonic(), None
        try:
            found = look()
            if found := await found if inspect.isawaitable(found) else found:
                return found
        except OSError as raised:
            error = raised
        if began > end:
            raise AssertionError(f"{what} did not come true within {within:g} s") from error
        await asyncio.sleep(_pause(0.005, began))


def _pause(least: float, began: float) -> float:
    """Seconds until the next look, behind one that `began` then. Looks that cost much must not take the time of what they wait for."""
    return max(least, min(0.1, 4 * (time.monotonic() - began)))
