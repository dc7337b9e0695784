"""Counts work between the turns of the event loop: what holds it up, without a clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any


class Work:
    """Counts the steps that are done between two turns of the event loop."""

    def __init__(self) -> None:
        self.turns = self.longest = self._steps = 0

    def counted(self, function: Callable[..., Any], steps: Callable[..., int] = lambda *_, **__: 1) -> Callable[..., Any]:
        """`function`, each call of which is so many steps."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self._steps += steps(*args, **kwargs)
            self.longest = max(self.longest, self._steps)
            return function(*args, **kwargs)

        return call

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Have a turn whenever there is one."""
        running = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            running.cancel()

    async def _watch(self) -> None:
        while True:
            self.turns += 1
            self._steps = 0
            await asyncio.sleep(0)
