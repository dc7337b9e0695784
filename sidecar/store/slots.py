"""Which server of a Redis Cluster holds what: redis-py's node manager, and what it is told of moves.

Commands go straight to redis-py's nodes, and not through its client: that one sends a command whose answer was lost
once more, which not every script bears, closes the connections to all servers when one of them fails, and sends ASKING
on another connection than what is to be asked.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
from collections.abc import Callable, Container, Sequence
from typing import Any

from redis.asyncio.cluster import ClusterNode, PipelineCommand
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import AskError

from sidecar.store import names
from sidecar.store.address import Address
from sidecar.store.cancelled import heeding
from sidecar.store.connecting import cluster
from sidecar.store.endpoint import Endpoint
from sidecar.store.errors import StoreUnavailable
from sidecar.store.link import Command

_FEW = 64
"""Marks that are tried before one is looked for in the very slots of a server."""
ASTRAY = 3.0
"""Seconds after which a server that holds no slot, and was not asked again, does not matter any more: longer than a lease."""
_OF_NO_KEY = {"PING", "INFO", "TIME"}
_SCRIPTS = {"EVALSHA", "EVAL"}


class Slots:
    """The slots as they were when they were last learnt, and the nodes that hold them."""

    def __init__(self, address: Address, timeout: float) -> None:
        """`timeout`, in seconds, bounds connecting to a server and each of its replies."""
        self._client = cluster(address, timeout)
        self._manager = self._client.nodes_manager
        self._patience = address.patience
        self._layout: frozenset[tuple[Any, ...]] = frozenset()
        """First and last slot of each part, and the address and id of the primary that holds it."""
        self._learning = asyncio.Lock()
        self._listed: frozenset[str] = frozenset()
        """The servers of the last `endpoints`, by name."""
        self._astray_at = float("-inf")
        """When somebody was last asked who is not among them; by the loop's clock."""

    @property
    def known(self) -> bool:
        """Whether they were ever learnt."""
        return bool(self._manager.slots_cache)

    async def learn(self, shunned: Container[str] = ()) -> None:
        """Ask a primary, if possible none of those with the names `shunned`; raises whatever redis-py raises."""
        async with self._learning:
            if not self.known:
                await heeding(self._manager.initialize())
            try:
                node, sections = await self._told(shunned)
            except Exception:
                # All that is known may be gone. What the settings name may lead to others by now, or to one that knows less.
                self._layout = frozenset()
                await heeding(self._manager.initialize())
                raise
            # Not the primaries alone: a slot that moved may be the one in which a server's mark lies. And not the ids alone: a
            # server may come back at another address.
            layout = frozenset((first, last, *holder[:3]) for first, last, holder, *_ in sections)
            if layout != self._layout:
                await self._take(node)
                self._layout = layout

    def primaries(self) -> list[ClusterNode]:
        """Every primary."""
        return self._client.get_primaries()

    def owner(self, command: Command) -> ClusterNode | None:
        """Who holds the key of `command`: None when it has none; raises LookupError when nobody does."""
        at = 3 if command[0] in _SCRIPTS else 1
        if command[0] in _OF_NO_KEY or len(command) <= at or (at == 3 and not command[2]):
            return None
        key = command[at]
        return self._manager.slots_cache[key_slot(key if isinstance(key, bytes) else str(key).encode())][0]

    async def note_move(self, error: AskError, asked: ClusterNode) -> None:
        """`asked` has said that a slot is another server's."""
        # It may be the one who is wrong. Only what it says of all slots tells, and is asked for again.
        self._layout = frozenset()
        error.host = error.host or asked.host
        # Of a slot that nobody held, redis-py knows nothing.
        self._manager.slots_cache.setdefault(error.slot_id, [])
        await self._manager.move_slot(error)

    def target(self, error: AskError, asked: ClusterNode) -> ClusterNode:
        """Whom to ask instead, just this once. One that holds no slot yet reports no changes either: see `endpoints`."""
        host = error.host or asked.host
        node = self._manager.get_node(host=host, port=error.port)
        if node is None:
            node = ClusterNode(host, error.port, "primary", **self._manager.connection_kwargs)
            self._manager.set_nodes(self._manager.nodes_cache, {node.name: node})
        if node.name not in self._listed:
            self._astray_at = asyncio.get_running_loop().time()
        return node

    def endpoints(self) -> list[Endpoint]:
        """Every primary that holds a slot. Raises StoreUnavailable while keys are read from one that holds none.

        Such a one is about to be given its first slot, and has their records already. It reports no change of them, and
        nothing can be written to it that proves that it has: what is remembered of keys must not be trusted meanwhile.
        """
        if asyncio.get_running_loop().time() - self._astray_at < ASTRAY:
            raise StoreUnavailable("the key store's cluster moves keys to a server that does not report changes yet")
        marks: dict[str, tuple[ClusterNode, str]] = {}
        slots = self._manager.slots_cache
        for mark in map(names.mark, range(_FEW)):
            for node in slots.get(key_slot(mark.encode()), [])[:1]:
                marks.setdefault(node.name, (node, mark))
        if len(marks) < len(self.primaries()):
            for slot, (node, *_) in slots.items():
                if node.name not in marks:
                    marks[node.name] = node, names.mark(_shard_in(slot))
        self._listed = frozenset(marks)
        return [Endpoint(name, _maker(node), mark, self._patience) for name, (node, mark) in sorted(marks.items())]

    async def close(self) -> None:
        """Let go of every connection."""
        await self._manager.aclose()
        await self._manager.aclose("startup_nodes")

    async def _told(self, shunned: Container[str]) -> tuple[ClusterNode, list[Any]]:
        """A primary, and what it says of the slots."""
        primaries = self.primaries()
        # Never a replica: one that hangs holds no key, and would cost everybody the lease.
        asked = [one for one in primaries if one.name not in shunned] or primaries
        failure: Exception = StoreUnavailable("no server of the key store's cluster knows who holds what")
        for node in random.sample(asked, len(asked)):
            try:
                sections = await heeding(node.execute_command("CLUSTER", "SLOTS"))
            except Exception as error:
                failure = error
                continue
            # One that was emptied knows of none, and of no other server: taken at its word, it would take the whole store away.
            if sections:
                return node, sections
        raise failure

    async def _take(self, node: ClusterNode) -> None:
        """Learn the slots from `node` itself: another may not know yet what it has just said, or may hang."""
        configured = self._manager.startup_nodes
        self._manager.startup_nodes = {node.name: node}
        try:
            await heeding(self._manager.initialize())
        finally:
            self._manager.startup_nodes = configured


async def ask(node: ClusterNode, commands: Sequence[Command]) -> list[Any]:
    """What `node` replies, sent on one connection and only once; exceptions in their place. Raises whatever redis-py raises."""
    told = [PipelineCommand(place, *command) for place, command in enumerate(commands)]
    # The next connection to be used may be one that the server has closed since: nothing was sent on it, nothing is lost.
    for connection in itertools.islice(node._free, 1):
        reader: Any = connection._reader
        if reader is not None and (reader.at_eof() or reader.exception() is not None):
            connection.mark_for_reconnect()  # type: ignore[no-untyped-call]
    await heeding(node.execute_pipeline(told))
    return [one.result for one in told]


def distrust(node: ClusterNode) -> None:
    """`node` has failed: its idle connections may lead nowhere, and each would cost a caller its deadline."""
    for connection in node._free:
        connection.mark_for_reconnect()  # type: ignore[no-untyped-call]


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
