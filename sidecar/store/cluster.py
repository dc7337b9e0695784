"""A store on a Redis Cluster, through redis-py's cluster client: it knows the slots and follows moves and failovers.

A server that fails is left alone for a moment: callers whose keys it holds fail at once, and then one
of them tries it again.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import ClusterDownError, RedisError, ResponseError

from sidecar.store import names
from sidecar.store.address import Address
from sidecar.store.endpoint import Endpoint
from sidecar.store.errors import StoreUnavailable, translate
from sidecar.store.link import Command

log = logging.getLogger(__name__)

REST = 0.25
"""Seconds for which a failed server is not asked again."""
_FEW = 64
"""Marks that are tried before one is looked for in the very slots of a server."""


class Cluster:
    """The transport of `redis+cluster`."""

    def __init__(self, address: Address, timeout: float) -> None:
        self._client: RedisCluster = address.cluster(timeout)
        self._timeout = timeout
        self._patience = address.patience
        self._primaries: frozenset[bytes] = frozenset()
        self._rests_until: dict[str, float] = {}
        self._reason: StoreUnavailable | None = StoreUnavailable("the key store has not been reached yet")

    @property
    def failure(self) -> StoreUnavailable | None:
        """Why the last call failed; None when it did not."""
        return self._reason

    async def start(self) -> None:
        """Learn the slots, for as long as one call may take."""
        try:
            await self.exchange([("GET", names.mark(0))])
        except StoreUnavailable as error:
            log.warning("%s; requests that need it are refused until it answers", error)

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Replies in order, errors in their place; raises StoreUnavailable."""
        servers = self._servers(commands)
        now = time.monotonic()
        if any(self._rests_until.get(server, 0.0) > now for server in servers):
            raise self._reason or StoreUnavailable("the key store cannot be reached")
        # Whoever comes while this one finds out fails at once.
        for server in servers & self._rests_until.keys():
            self._rests_until[server] = now + self._timeout
        try:
            async with asyncio.timeout(self._timeout):
                replies = await self._send(commands)
        except Exception as error:
            self._reason = translate(error)
            self._rests_until.update(dict.fromkeys(servers, time.monotonic() + REST))
            raise self._reason from None
        self._reason = None
        for server in servers & self._rests_until.keys():
            del self._rests_until[server]
        return replies

    async def endpoints(self) -> list[Endpoint]:
        """Every primary, asked afresh; raises StoreUnavailable."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._follow()
        except Exception as error:
            raise translate(error) from None
        marks: dict[str, tuple[ClusterNode, str]] = {}
        for mark in map(names.mark, range(_FEW)):
            node = self._client.get_node_from_key(mark)
            if node is not None:
                marks.setdefault(node.name, (node, mark))
        if len(marks) < len(self._client.get_primaries()):
            for slot, (node, *_) in self._client.nodes_manager.slots_cache.items():
                if node.name not in marks:
                    marks[node.name] = node, names.mark(_shard_in(slot))
        return [Endpoint(name, _maker(node), mark, self._patience) for name, (node, mark) in sorted(marks.items())]

    async def close(self) -> None:
        """Let go of everything."""
        await self._client.aclose()

    async def _follow(self) -> None:
        """Learn of new primaries: redis-py does so only when a command fails, and by making every connection anew."""
        await self._client.initialize()
        slots = await self._client.get_random_node().execute_command("CLUSTER", "SLOTS")
        primaries = frozenset(section[2][2] for section in slots)
        if primaries != self._primaries:
            await self._client.nodes_manager.initialize()
            self._primaries = primaries

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        if len(commands) == 1:
            try:
                return [await self._client.execute_command(*commands[0])]
            except RedisError as error:
                if _is_reply(error):
                    return [error]
                raise
        async with self._client.pipeline() as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            replies: list[Any] = await pipeline.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, Exception) and not _is_reply(reply):
                raise reply
        return replies

    def _servers(self, commands: Sequence[Command]) -> set[str]:
        if not self._client.nodes_manager.slots_cache:
            return {""}
        servers = set()
        for command in commands:
            at = 3 if command[0] in ("EVALSHA", "EVAL") else 1
            node = self._client.get_node_from_key(str(command[at])) if len(command) > at else None
            servers.add(node.name if node is not None else "")
        return servers


def _is_reply(error: Exception) -> bool:
    """Whether a server said this, rather than that no server could be asked."""
    return isinstance(error, ResponseError) and not isinstance(error, ClusterDownError)


@functools.cache
def _shard_in(slot: int) -> int:
    """The first number whose mark lies in `slot`, which may be the only one that a server has."""
    return next(shard for shard in itertools.count() if key_slot(names.mark(shard).encode()) == slot)


def _maker(node: ClusterNode) -> Callable[[], AbstractConnection]:
    def make() -> AbstractConnection:
        options = {**node.connection_kwargs, "socket_timeout": None, "retry": Retry(NoBackoff(), 0)}
        connection: AbstractConnection = node.connection_class(**options)
        return connection

    return make
