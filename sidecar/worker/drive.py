"""Runs a request's coroutine from the callbacks of its own connections, without a task.

A request mostly waits for one thing, the hub's next bytes, and whoever has them can go on with it at
once: no task, no future, no further turn of the event loop. What it awaits beside that (the store, a
full socket) are futures as everywhere in asyncio.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Generator
from typing import Any


class Signal:
    """What a coroutine under a `Drive` waits for, again and again; one waiter at a time.

    A wait may end without reason, so wait in a loop that looks at what is waited for.
    """

    __slots__ = ("_loop", "resume")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.resume: Callable[[], None] | None = None
        """Goes on with whoever waits."""

    def __await__(self) -> Generator[Signal, None, None]:
        yield self

    def wake(self) -> None:
        """Let the waiter go on within this call: the caller must have nothing left to do."""
        resume, self.resume = self.resume, None
        if resume is not None:
            resume()

    def wake_soon(self) -> None:
        """Let the waiter go on in the event loop's next turn."""
        if self.resume is not None:
            self._loop.call_soon(self.wake)


class Drive:
    """One coroutine on its way. It belongs to no task, so there can be no `asyncio.timeout` in it."""

    __slots__ = ("_coroutine", "_ended", "_loop", "waits")

    def __init__(
        self, coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, ended: Callable[[Drive], None] | None = None
    ) -> None:
        """`ended` is called once the coroutine has ended after a wait."""
        self._coroutine = coroutine
        self._loop = loop
        self._ended = ended
        self.waits = False
        """Whether the coroutine was started and has not ended."""

    def start(self) -> bool:
        """Run the coroutine as far as it goes without waiting; whether it waits now."""
        try:
            self._wait_for(self._coroutine.send(None))
        except StopIteration:
            return False
        self.waits = True
        return True

    def cancel(self) -> None:
        """Raise CancelledError in the coroutine where it waits, so that it ends."""
        if not self.waits:
            return
        self._end()
        with contextlib.suppress(StopIteration, asyncio.CancelledError):
            self._coroutine.throw(asyncio.CancelledError())
            self._coroutine.close()

    def _resume(self) -> None:
        if not self.waits:
            # Cancelled; what it waited for did not know.
            return
        try:
            self._wait_for(self._coroutine.send(None))
        except StopIteration:
            self._end()
        except BaseException:
            self._end()
            raise

    def _wait_for(self, awaited: Any) -> None:
        if awaited.__class__ is Signal:
            awaited.resume = self._resume
        elif awaited is None:
            # asyncio.sleep(0)
            self._loop.call_soon(self._resume)
        else:
            # A future: the same handshake as between it and a task (asyncio.futures, __await__).
            awaited._asyncio_future_blocking = False
            awaited.add_done_callback(self._done)

    def _done(self, _future: asyncio.Future[Any]) -> None:
        self._resume()

    def _end(self) -> None:
        self.waits = False
        if self._ended is not None:
            self._ended(self)
