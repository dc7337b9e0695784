"""One connection to one server, shared by everybody: commands go out as they come, replies come back in order.

A caller that gives up leaves its place in the queue, so that the replies of the others stay theirs.
redis-py connects, greets and authenticates. From then on the socket is read here: through its stream
and its parser each reply costs several times what the server takes to make it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

from sidecar.store.cancelled import heeding
from sidecar.store.errors import StoreUnavailable, translate

Command = tuple[str | bytes | int | float, ...]
PushHandler = Callable[[Sequence[bytes] | None], None]

_INCOMPLETE: Final = object()
# Its own types say that a command has exactly one word.
_pack = cast("Callable[[Command], bytes]", hiredis.pack_command)


class _Batch:
    """The replies that one `exchange` waits for."""

    __slots__ = ("done", "missing", "replies")

    def __init__(self, count: int, done: asyncio.Future[None]) -> None:
        self.missing = count
        self.replies: list[Any] = []
        self.done = done


class Link(asyncio.Protocol):
    """The protocol of a socket that redis-py has opened."""

    def __init__(self, connection: AbstractConnection, on_push: PushHandler | None) -> None:
        """Take the socket of `connection`, which is left without one."""
        self._on_push = on_push
        parser: Any = connection._parser
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=parser.parse_error, notEnoughData=_INCOMPLETE)
        self._waiting: deque[_Batch] = deque()
        self._gone = asyncio.Event()
        self.failure: StoreUnavailable | None = None
        """Why the link is over; None while it lives."""
        stream: Any = connection._reader
        writer: Any = connection._writer
        connection._reader = connection._writer = None
        self._writer = writer
        """Kept, because it closes the socket when nobody has it any more (Python 3.13)."""
        self._transport: asyncio.Transport = writer.transport
        self._transport.set_protocol(self)
        self.data_received(bytes(stream._buffer))

    @classmethod
    async def open(cls, connection: AbstractConnection, *, timeout: float, on_push: PushHandler | None = None) -> Link:
        """Connect, greet and authenticate within `timeout` seconds; raises StoreUnavailable.

        `on_push` gets the names in each invalidation message, or None when everything was flushed.
        """
        try:
            async with asyncio.timeout(timeout):
                await heeding(connection.connect())  # type: ignore[no-untyped-call]
            return cls(connection, on_push)
        except Exception as error:
            raise translate(error) from None
        finally:
            await _disconnect(connection)

    async def exchange(self, commands: Sequence[Command], timeout: float) -> list[Any]:
        """The replies to `commands`, in order; a command that the server refused has the exception in its place.

        Raises StoreUnavailable when the connection ends or `timeout` (seconds) passes first.
        """
        if self.failure is not None:
            raise self.failure
        # Not the connection's own way: that looks at each argument in Python, and the ledger sends thousands.
        packed = b"".join(map(_pack, commands))
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        batch = _Batch(len(commands), done)
        # Nothing may suspend between taking the place in the queue and the write: replies come in the order of writes.
        self._waiting.append(batch)
        try:
            self._transport.write(packed)
        except Exception as error:
            self._end(error)
        late = loop.call_later(timeout, _give_up, done)
        try:
            await done
        finally:
            late.cancel()
        return batch.replies

    async def close(self) -> None:
        """End the connection; whoever still waits gets StoreUnavailable."""
        self._end(StoreUnavailable("the connection to the key store was closed"))
        # The socket is closed in a later turn of the loop, and there may be none when nobody waits for it.
        await self._gone.wait()

    def data_received(self, data: bytes) -> None:
        """Hand out what is complete."""
        reader = self._reader
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _INCOMPLETE:
                if isinstance(reply, hiredis.PushNotification):
                    self._pushed(reply)
                elif isinstance(reply, RedisConnectionError):
                    # What the server says before it hangs up, and where it wants a greeting again.
                    raise reply
                else:
                    self._deliver(reply)
        except Exception as error:
            self._end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """The server or the network ended it."""
        self._end(exc or ConnectionResetError())
        self._gone.set()

    def _pushed(self, message: Sequence[Any]) -> None:
        if self._on_push is not None and message[0] == b"invalidate":
            self._on_push(message[1])

    def _deliver(self, reply: Any) -> None:
        batch = self._waiting[0]
        batch.replies.append(reply)
        batch.missing -= 1
        if not batch.missing:
            self._waiting.popleft()
            if not batch.done.done():
                batch.done.set_result(None)

    def _end(self, error: Exception) -> None:
        if self.failure is None:
            self.failure = translate(error)
            self._transport.abort()
        while self._waiting:
            batch = self._waiting.popleft()
            if not batch.done.done():
                batch.done.set_exception(self.failure)


def _give_up(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_exception(StoreUnavailable("the key store did not answer in time"))


async def _disconnect(connection: AbstractConnection) -> None:
    try:
        await connection.disconnect(nowait=True)
    except Exception:
        return
