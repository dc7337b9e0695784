"""A store on a Redis Cluster: each command goes to the server that holds its key, and moves and failovers are followed.

A server that fails is an outage of its own keys only. It is left alone for a moment: callers whose keys it holds fail
at once, and then one of them tries it again. Nothing is sent a second time whose answer was lost.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from redis.asyncio.cluster import ClusterNode
from redis.exceptions import AskError, ClusterDownError, MovedError, ResponseError, TryAgainError
from redis.exceptions import TimeoutError as RedisTimeoutError

from sidecar.store import names
from sidecar.store.address import Address
from sidecar.store.endpoint import Endpoint
from sidecar.store.errors import StoreUnavailable, translate
from sidecar.store.gathering import Gathering
from sidecar.store.link import Command
from sidecar.store.slots import Slots, ask, distrust

_log = logging.getLogger(__name__)

REST = 0.25
"""Seconds for which a failed server is not asked again, and after which it is looked for another in its place."""
FORGOTTEN_AFTER = 5.0
"""Seconds after its rest in which nobody needed a failed server: then nobody looks for another one either."""
HOPS = 5
"""How often a command follows what servers say of its key before it is given up."""
TRY_AGAIN_AFTER = 0.02
"""Seconds until a command is repeated whose keys are being moved (TRYAGAIN)."""
UNCOVERED = "the key store's cluster is down"
IDENTITY: Command = ("HMGET", names.META, "epoch")
"""The question that is asked with each look-up (`sidecar.keys.adoption`), at its shortest."""
NOBODY = ""
"""In place of a server's name, where none serves a key."""


class Cluster:
    """The transport of `redis+cluster`."""

    def __init__(self, address: Address, timeout: float) -> None:
        self._slots = Slots(address, timeout)
        self._timeout = timeout
        self._resting: dict[str, tuple[float, StoreUnavailable]] = {}
        """Servers that failed, by name: until when they are left alone, and why."""
        self._gathering = Gathering(self._trip)
        self._reason = StoreUnavailable("the key store has not been reached yet")
        """Why the slots are not known yet."""
        self._lost: StoreUnavailable | None = None
        """Why the identity is not told."""
        self._mending: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def failure(self) -> StoreUnavailable | None:
        """Why no key can be looked up: with each the store's identity is asked for. None while its server answers."""
        return self._lost if self._slots.known else self._reason

    async def start(self) -> None:
        """Learn the slots, for as long as one call may take; then go on trying in the background."""
        await asyncio.wait([self._mend()], timeout=self._timeout)
        if self.failure is not None:
            _log.warning("%s; requests that need it are refused until it answers", self.failure)

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Replies in order, errors in their place: a StoreUnavailable for each command whose server does not answer.

        Raises StoreUnavailable when none of them answers.
        """
        if not self._slots.known:
            if not self._closed:
                self._mend()
            raise self._reason
        replies = await self._answers(commands, asyncio.get_running_loop().time() + self._timeout, HOPS)
        if commands[0][:2] == IDENTITY[:2]:
            self._note(replies[0])
        failed = [reply for reply in replies if isinstance(reply, StoreUnavailable)]
        if failed and len(failed) == len(replies):
            raise failed[0]
        return replies

    async def endpoints(self) -> list[Endpoint]:
        """Every primary, asked afresh; raises StoreUnavailable."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._slots.learn(self._resting)
        except Exception as error:
            raise translate(error) from None
        return self._slots.endpoints()

    async def close(self) -> None:
        """Let go of everything."""
        self._closed = True
        if self._mending is not None:
            self._mending.cancel()
            await asyncio.wait([self._mending])
        await self._gathering.close()
        await self._slots.close()

    async def _answers(self, commands: Sequence[Command], until: float, hops: int) -> list[Any]:
        """Replies in order, from whoever holds each key; `until` is the loop's time."""
        replies: list[Any] = [None] * len(commands)
        groups: defaultdict[ClusterNode, list[int]] = defaultdict(list)
        for place, command in enumerate(commands):
            try:
                groups[self._slots.owner(command) or self._anyone()].append(place)
            except LookupError:
                replies[place] = StoreUnavailable(UNCOVERED)
                self._failed(NOBODY, replies[place])
        parts = [self._answers_of(node, [commands[place] for place in places], until, hops) for node, places in groups.items()]
        # Of a server that hangs the others' keys must know nothing: all are asked at once, and each on its own.
        found = [await parts[0]] if len(parts) == 1 else await asyncio.gather(*parts)
        for places, answers in zip(groups.values(), found, strict=True):
            _place(replies, places, answers)
        return replies

    async def _answers_of(self, node: ClusterNode, commands: Sequence[Command], until: float, hops: int) -> list[Any]:
        """What `node` replies, or whoever it says should be asked."""
        replies = await self._ask(node, commands, until)
        elsewhere: defaultdict[ClusterNode, list[int]] = defaultdict(list)
        again = []
        for place, reply in enumerate(replies):
            if isinstance(reply, MovedError):
                await self._slots.note_move(reply, node)
                again.append(place)
            elif isinstance(reply, AskError):
                elsewhere[self._slots.target(reply, node)].append(place)
            elif isinstance(reply, TryAgainError):
                again.append(place)
        for target, places in elsewhere.items():
            # ASKING is good for one command on the same connection.
            asked = [part for place in places for part in (("ASKING",), commands[place])]
            found = (await self._ask(target, asked, until))[1::2]
            _place(replies, places, found)
            again += [place for place, reply in zip(places, found, strict=True) if isinstance(reply, (MovedError, TryAgainError))]
        if again and hops:
            if any(isinstance(replies[place], TryAgainError) for place in again):
                await asyncio.sleep(TRY_AGAIN_AFTER)
            _place(replies, again, await self._answers([commands[place] for place in again], until, hops - 1))
        return replies

    async def _ask(self, node: ClusterNode, commands: Sequence[Command], until: float) -> list[Any]:
        """What `node` replies, with a StoreUnavailable in each place for which it does not."""
        rest = self._resting.get(node.name)
        if rest is not None and rest[0] > time.monotonic():
            return [rest[1]] * len(commands)
        try:
            return await self._gathering.ask(node, commands, until)
        except TimeoutError as error:
            # Perhaps it was not even asked. What is to be known against it, the trip notes.
            return [translate(error)] * len(commands)

    async def _trip(self, node: ClusterNode, commands: Sequence[Command], until: float) -> list[Any]:
        """As `_ask`, of all who go together."""
        now = time.monotonic()
        rest = self._resting.get(node.name)
        if rest is not None:
            if rest[0] > now:
                return [rest[1]] * len(commands)
            # Whoever comes while this one finds out fails at once.
            self._resting[node.name] = now + self._timeout, rest[1]
        try:
            async with asyncio.timeout_at(until):
                replies = await ask(node, commands)
        except Exception as error:
            replies = [error] * len(commands)
        failure = next((reply for reply in replies if isinstance(reply, Exception) and not isinstance(reply, ResponseError)), None)
        if failure is None:
            self._resting.pop(node.name, None)
        else:
            distrust(node)
            # A connection that ended may be all that is wrong: the next caller tries at once, and makes one anew.
            ended = rest is None and not isinstance(failure, (TimeoutError, RedisTimeoutError))
            self._failed(node.name, translate(failure), 0.0 if ended else REST)
        return [self._judged(reply) for reply in replies]

    def _judged(self, reply: Any) -> Any:
        """`reply` as it is told: a StoreUnavailable in place of what no server said, or what says that none can serve this key."""
        if not isinstance(reply, Exception) or (isinstance(reply, ResponseError) and not isinstance(reply, ClusterDownError)):
            return reply
        reason = translate(reply)
        if isinstance(reply, ClusterDownError):
            # Other keys of the same server may be served.
            self._failed(NOBODY, reason)
        return reason

    def _note(self, identity: Any) -> None:
        """Somebody has asked for the identity. While nobody is told it, that goes on in the background: there may be no more calls."""
        self._lost = identity if isinstance(identity, StoreUnavailable) else None
        if self._lost is not None and not self._closed:
            self._mend()

    def _anyone(self) -> ClusterNode:
        """Who may answer what is about no key; raises LookupError."""
        return sorted(self._slots.primaries(), key=lambda node: (node.name in self._resting, node.name))[0]

    def _failed(self, server: str, reason: StoreUnavailable, rest: float = REST) -> None:
        self._resting[server] = time.monotonic() + rest, reason
        if not self._closed:
            self._mend()

    def _mend(self) -> asyncio.Task[None]:
        if self._mending is None or self._mending.done():
            self._mending = asyncio.create_task(self._follow())
        return self._mending

    async def _follow(self) -> None:
        """Until the slots are known, and while servers fail: in the place of one that does, another may have come."""
        while True:
            try:
                await self._slots.learn(self._resting)
            except Exception as error:
                self._reason = translate(error)
            if self._slots.known and self._lost is not None:
                (identity,) = await self._answers([IDENTITY], asyncio.get_running_loop().time() + self._timeout, HOPS)
                self._note(identity)
            primaries = {node.name for node in self._slots.primaries()}
            forgotten = time.monotonic() - FORGOTTEN_AFTER
            for server in [one for one, (until, _) in self._resting.items() if one not in primaries or until < forgotten]:
                del self._resting[server]
            if self._slots.known and not self._resting and self._lost is None:
                return
            await asyncio.sleep(REST)


def _place(replies: list[Any], places: Sequence[int], found: Sequence[Any]) -> None:
    for place, reply in zip(places, found, strict=True):
        replies[place] = reply
