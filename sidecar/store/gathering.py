"""What many ask of one server of a Cluster goes together: a trip has a price of its own, in time and in connections.

Whoever finds nobody under way goes at once. All others of a turn of the event loop go with one trip, and with the next one
those who come while many are under way.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio.cluster import ClusterNode

from sidecar.store.errors import StoreUnavailable
from sidecar.store.link import Command

MOST_TRIPS = 8
"""Under way at once to one server; each has a connection of its own."""
MOST_COMMANDS = 256
"""After which nobody else goes with a trip: all wait for its last reply."""

Send = Callable[[ClusterNode, Sequence[Command], float], Awaitable[list[Any]]]


@dataclass(slots=True, eq=False)
class _Asked:
    node: ClusterNode
    commands: Sequence[Command]
    until: float
    done: asyncio.Future[list[Any]]


class Gathering:
    """Asks by `send`, which gives a reply for each command by the time of the loop that it is told."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: defaultdict[str, deque[_Asked]] = defaultdict(deque)
        """By the server's name, as the next."""
        self._under_way: defaultdict[str, int] = defaultdict(int)
        self._trips: set[asyncio.Task[None]] = set()
        self._departing = False

    async def ask(self, node: ClusterNode, commands: Sequence[Command], until: float) -> list[Any]:
        """What `node` replies to `commands`, which stay together; raises TimeoutError where that is not known by `until`.

        Of a caller that leaves before they are sent they are not sent.
        """
        if not self._under_way[node.name] and node.name not in self._waiting:
            return await self._alone(node, commands, until)
        loop = asyncio.get_running_loop()
        asked = _Asked(node, commands, until, loop.create_future())
        self._waiting[node.name].append(asked)
        if not self._departing:
            self._departing = True
            loop.call_soon(self._depart)
        async with asyncio.timeout_at(until):
            return await asked.done

    async def close(self) -> None:
        """Break off what is under way for several; whoever went alone is in no trip of this."""
        self._waiting.clear()
        for trip in self._trips:
            trip.cancel()
        if self._trips:
            await asyncio.wait(self._trips)

    async def _alone(self, node: ClusterNode, commands: Sequence[Command], until: float) -> list[Any]:
        self._under_way[node.name] += 1
        try:
            return await self._send(node, commands, until)
        finally:
            self._landed(node.name)

    def _depart(self) -> None:
        self._departing = False
        for server in list(self._waiting):
            self._depart_to(server)

    def _depart_to(self, server: str) -> None:
        while self._under_way[server] < MOST_TRIPS and (party := self._party(server)):
            self._under_way[server] += 1
            trip = asyncio.get_running_loop().create_task(self._trip(server, party))
            self._trips.add(trip)
            trip.add_done_callback(self._trips.discard)

    def _party(self, server: str) -> list[_Asked]:
        """Those who go with the next trip."""
        waiting, party, size = self._waiting[server], list[_Asked](), 0
        while waiting and size < MOST_COMMANDS:
            asked = waiting.popleft()
            if not asked.done.done():
                party.append(asked)
                size += len(asked.commands)
        if not waiting:
            del self._waiting[server]
        return party

    async def _trip(self, server: str, party: Sequence[_Asked]) -> None:
        replies: list[Any] = []
        try:
            # The newest knows best which connections are the server's now.
            commands = [command for asked in party for command in asked.commands]
            replies = await self._send(party[-1].node, commands, max(asked.until for asked in party))
        finally:
            place = 0
            for asked in party:
                own = replies[place : place + len(asked.commands)]
                place += len(asked.commands)
                if not asked.done.done():
                    # Whatever happens, nobody is left waiting.
                    asked.done.set_result(own or [StoreUnavailable("the trip to the key store was broken off")] * len(asked.commands))
            self._landed(server)

    def _landed(self, server: str) -> None:
        self._under_way[server] -= 1
        if server in self._waiting:
            self._depart_to(server)
