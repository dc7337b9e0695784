"""The event loop of a process: uvloop where it is installed, asyncio's own elsewhere."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the fastest loop there is."""
    if importlib.util.find_spec("uvloop") is None:
        return asyncio.new_event_loop
    made: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return made


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """`asyncio.run` on that loop."""
    with asyncio.Runner(loop_factory=factory()) as runner:
        return runner.run(main)
