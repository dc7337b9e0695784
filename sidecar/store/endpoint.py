"""One server of the store, as those see it who need a connection of their own to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from redis.asyncio.connection import AbstractConnection


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`connection()` makes a fresh, unconnected connection; `mark` is a name that this server may be asked to write."""

    name: str
    connection: Callable[[], AbstractConnection]
    mark: str
    patience: float
    """Seconds within which connecting, discovery included, should succeed."""
