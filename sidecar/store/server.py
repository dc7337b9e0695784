"""A store on one server (or, with Sentinel, one primary): a shared link and the mending of it.

While the link is down every call fails at once; a background task tries until the server answers.
So a dead or frozen store costs a few callers one deadline each, and everybody else nothing.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import ReadOnlyError, ResponseError

from sidecar.store import names
from sidecar.store.address import Address
from sidecar.store.connecting import pool
from sidecar.store.endpoint import PROOF, Endpoint
from sidecar.store.errors import StoreUnavailable, is_of_disk, translate
from sidecar.store.link import Command, Link

_log = logging.getLogger(__name__)

MEND_PAUSE = 0.2
"""Seconds between two attempts to connect anew."""
PING_TIMEOUT = 1.0
"""Seconds in which a server must answer before its link is used again."""
LOOK_PAUSE = 1.0
"""Seconds between two questions to the sentinels while the primary refuses writes, and how long one may take."""
UNTRIED = "the key store has not been reached yet"
MOVED = "the key store's primary has changed"
TOO_FEW_REPLICAS = "NOREPLICAS"


class SingleServer:
    """The transport of every scheme but `redis+cluster`."""

    def __init__(self, address: Address, timeout: float) -> None:
        self._pool = pool(address)
        self._patience = address.patience
        self._place = address.place
        self._timeout = timeout
        self._link: Link | None = None
        self._primary: tuple[object, ...] = ()
        """Where the link leads, or the last one did."""
        self._reason: StoreUnavailable | None = StoreUnavailable(UNTRIED)
        self._mending: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = -math.inf

    @property
    def failure(self) -> StoreUnavailable | None:
        """Why calls fail at the moment; None while the store answers."""
        return self._reason

    async def start(self) -> None:
        """Try to connect for as long as one call may take; then go on trying in the background."""
        self._mending = asyncio.create_task(self._mend(None))
        await asyncio.wait([self._mending], timeout=self._timeout)

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Replies in order, errors in their place; raises StoreUnavailable, at once while the store is known to be down."""
        link = self._link
        if link is None:
            raise self._reason or StoreUnavailable("the key store cannot be reached")
        try:
            replies = await link.exchange(commands, self._timeout)
        except StoreUnavailable as error:
            self._lost(link, error)
            raise
        for reply in replies:
            if isinstance(reply, ReadOnlyError):
                # The primary has become a replica: only a new connection finds the new primary.
                await link.close()
                self._lost(link, StoreUnavailable("the key store is read-only; it is a replica or lost its primary"))
            elif isinstance(reply, ResponseError) and str(reply).startswith(TOO_FEW_REPLICAS):
                self._look(link)
        return replies

    async def endpoints(self) -> list[Endpoint]:
        """The one server, for connections of one's own."""
        if not isinstance(self._pool, SentinelConnectionPool):
            return [Endpoint("store", self._connection, names.mark(0), self._patience)]
        return [Endpoint(":".join(map(str, self._primary)), self._connection, names.mark(0), self._patience, self._arrived)]

    async def close(self) -> None:
        """Let go of everything."""
        if self._mending is not None:
            self._mending.cancel()
            await asyncio.wait([self._mending])
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        if self._link is not None:
            await self._link.close()
        if isinstance(self._pool, SentinelConnectionPool):
            await self._pool.sentinel_manager.aclose()
        self._link = None
        self._reason = StoreUnavailable("the connection to the key store was closed")

    def _connection(self) -> AbstractConnection:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        return connection

    async def _arrived(self, connection: AbstractConnection) -> None:
        # A primary that was cut off still answers reads. What it says would be remembered, and the new one's reports be trusted.
        link = self._link
        if link is not None and _place(connection) == self._primary:
            return
        if link is not None:
            await self._leave(link)
        raise StoreUnavailable(MOVED)

    def _look(self, link: Link) -> None:
        """See whether the primary of `link` is still that of the sentinels, unless that was seen a moment ago."""
        # One that was cut off keeps its connections, and where there is no lease nothing else would end this one.
        now = time.monotonic()
        if isinstance(self._pool, SentinelConnectionPool) and now >= self._looked_at + LOOK_PAUSE:
            self._looked_at = now
            self._looking = asyncio.create_task(self._compare(link, self._pool))

    async def _compare(self, link: Link, pool: SentinelConnectionPool) -> None:
        try:
            async with asyncio.timeout(LOOK_PAUSE):
                primary = await pool.get_master_address()  # type: ignore[no-untyped-call]
        except Exception as error:
            _log.debug("the sentinels do not say where the key store is: %s", translate(error))
            return
        if tuple(primary) != self._primary:
            await self._leave(link)

    async def _leave(self, link: Link) -> None:
        await link.close()
        self._lost(link, StoreUnavailable(MOVED))

    def _lost(self, link: Link, reason: StoreUnavailable) -> None:
        if self._link is not link:
            return
        self._link = None
        self._reason = reason
        _log.warning("%s; requests that need it are refused until it answers", reason)
        self._mending = asyncio.create_task(self._mend(link))

    async def _mend(self, link: Link | None) -> None:
        while True:
            try:
                # A call may have timed out although the server lives: the same link is asked first.
                if link is None or link.failure is not None:
                    connection = self._connection()
                    link = await Link.open(connection, timeout=self._patience)
                    self._primary = _place(connection)
                await _check(link)
            except (StoreUnavailable, asyncio.CancelledError) as error:
                if link is not None:
                    # Nobody else knows of it.
                    await link.close()
                    link = None
                if not isinstance(error, StoreUnavailable):
                    raise
                if str(error) != str(self._reason):
                    _log.warning("%s at %s; still trying", error, self._place)
                self._reason = error
                await asyncio.sleep(MEND_PAUSE)
                continue
            # At a start that goes well, it is no news to anybody.
            if self._reason is not None and str(self._reason) != UNTRIED:
                _log.info("the key store answers")
            self._link, self._reason = link, None
            return


async def _check(link: Link) -> None:
    """Raise StoreUnavailable unless the server of `link` answers, and is no replica: that answers reads, by what it has heard so far."""
    pong, written = await link.exchange([("PING",), PROOF], PING_TIMEOUT)
    # Whose disk fails answers reads as before, and is asked on by those who were connected then.
    if isinstance(pong, Exception) and not is_of_disk(pong):
        raise translate(pong)
    if isinstance(written, ReadOnlyError):
        raise translate(written)


def _place(connection: AbstractConnection) -> tuple[object, ...]:
    """Where `connection` leads: with Sentinel, to the primary that it was told of."""
    return tuple(getattr(connection, name, None) for name in ("host", "port"))
