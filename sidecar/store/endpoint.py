"""One server of the store, as those see it who need a connection of their own to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio.connection import AbstractConnection

from sidecar.store import names
from sidecar.store.errors import StoreUnavailable, translate
from sidecar.store.link import Command, Link, PushHandler

PROOF: Command = ("DEL", names.NOTHING)
"""Refused by a server that may not write, as each write is. One that is out of memory still takes it, so that it says
NOREPLICAS where SET would say OOM, and no replica and no disk ever hears of it."""


async def _anywhere(connection: AbstractConnection) -> None:
    """For servers that no connection can miss."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`connection()` makes a fresh, unconnected connection; `mark` is a name that this server may be asked to write."""

    name: str
    connection: Callable[[], AbstractConnection]
    mark: str
    patience: float
    """Seconds within which connecting, discovery included, should succeed."""
    arrived: Callable[[AbstractConnection], Awaitable[None]] = _anywhere
    """Raises StoreUnavailable when a connection that was made leads to another server than everybody's calls go to."""

    async def open(self, on_push: PushHandler | None = None) -> Link:
        """A link of one's own; raises StoreUnavailable."""
        connection = self.connection()
        link = await Link.open(connection, timeout=self.patience, on_push=on_push)
        try:
            await self.arrived(connection)
        except BaseException:
            await link.close()
            raise
        return link

    async def ask(self, command: Command, timeout: float) -> Any:
        """The reply of this very server, or why there is none within `timeout` seconds of being connected: a StoreUnavailable."""
        try:
            link = await self.open()
            try:
                (reply,) = await link.exchange([command], timeout)
            finally:
                await link.close()
        except StoreUnavailable as error:
            return error
        return translate(reply) if isinstance(reply, Exception) else reply
