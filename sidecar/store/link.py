"""One connection to one server, shared by everybody: commands go out as they come, replies come back in order.

A caller that gives up leaves its place in the queue, so that the replies of the others stay theirs.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from sidecar.store.errors import StoreUnavailable, translate

Command = tuple[str | bytes | int | float, ...]
PushHandler = Callable[[Sequence[bytes] | None], None]

_PUSH: Final = object()
# Its own types say that a command has exactly one word.
_pack = cast("Callable[[Command], bytes]", hiredis.pack_command)


class _Batch:
    """The replies that one `exchange` waits for."""

    __slots__ = ("done", "missing", "replies")

    def __init__(self, count: int, done: asyncio.Future[None]) -> None:
        self.missing = count
        self.replies: list[Any] = []
        self.done = done


class Link:
    """A connected redis-py connection and the task that reads from it."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._waiting: deque[_Batch] = deque()
        self._reader: asyncio.Task[None] | None = None
        self.failure: StoreUnavailable | None = None
        """Why the link is over; None while it lives."""

    @classmethod
    async def open(cls, connection: AbstractConnection, *, timeout: float, on_push: PushHandler | None = None) -> Link:
        """Connect, greet and authenticate within `timeout` seconds; raises StoreUnavailable.

        `on_push` gets the names in each invalidation message, or None when everything was flushed.
        """
        if on_push is not None:
            _set_push_handler(connection, on_push)
        try:
            async with asyncio.timeout(timeout):
                await connection.connect()  # type: ignore[no-untyped-call]
        except Exception as error:
            await _disconnect(connection)
            raise translate(error) from None
        link = cls(connection)
        link._reader = asyncio.create_task(link._read())
        return link

    async def exchange(self, commands: Sequence[Command], timeout: float) -> list[Any]:
        """The replies to `commands`, in order; a command that the server refused has the exception in its place.

        Raises StoreUnavailable when the connection ends or `timeout` (seconds) passes first.
        """
        if self.failure is not None:
            raise self.failure
        # Not the connection's own way: that looks at each argument in Python, and the ledger sends thousands.
        packed = b"".join(map(_pack, commands))
        batch = _Batch(len(commands), asyncio.get_running_loop().create_future())
        # Nothing may suspend between taking the place in the queue and the write: replies come in the order of writes.
        self._waiting.append(batch)
        try:
            async with asyncio.timeout(timeout):
                await self._connection.send_packed_command([packed], check_health=False)
                await batch.done
        except TimeoutError:
            raise StoreUnavailable("the key store did not answer in time") from None
        except Exception as error:
            self._end(translate(error))
            raise translate(error) from None
        return batch.replies

    async def close(self) -> None:
        """End the connection; whoever still waits gets StoreUnavailable."""
        self._end(StoreUnavailable("the connection to the key store was closed"))
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        await _disconnect(self._connection)

    async def _read(self) -> None:
        read = self._connection.read_response
        try:
            while True:
                try:
                    # push_request: without it redis-py recurses once for every push between two replies.
                    reply = await read(timeout=math.inf, push_request=True)
                except ResponseError as error:
                    reply = error
                if reply is not _PUSH:
                    self._deliver(reply)
        except Exception as error:
            self._end(translate(error))
        finally:
            await _disconnect(self._connection)

    def _deliver(self, reply: Any) -> None:
        batch = self._waiting[0]
        batch.replies.append(reply)
        batch.missing -= 1
        if not batch.missing:
            self._waiting.popleft()
            if not batch.done.done():
                batch.done.set_result(None)

    def _end(self, failure: StoreUnavailable) -> None:
        self.failure = self.failure or failure
        while self._waiting:
            batch = self._waiting.popleft()
            if not batch.done.done():
                batch.done.set_exception(self.failure)
                # A caller that has already left does not look at its future any more.
                batch.done.exception()


def _set_push_handler(connection: AbstractConnection, on_push: PushHandler) -> None:
    async def handle(message: Sequence[Any]) -> object:
        on_push(message[1])
        return _PUSH

    parser: Any = connection._parser
    parser.set_invalidation_push_handler(handle)


async def _disconnect(connection: AbstractConnection) -> None:
    try:
        await connection.disconnect(nowait=True)
    except Exception:
        return
