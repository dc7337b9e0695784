"""The store: the only way to Redis or Valkey for the rest of the program.

Replies are RESP3 as it comes (bytes, int, float, list, dict, None). Whatever fails is a
`StoreUnavailable`; nothing here waits longer than the deadline that it was made with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from redis.exceptions import NoScriptError, ReadOnlyError

from sidecar.settings import declaration
from sidecar.store.address import resolve
from sidecar.store.cluster import Cluster
from sidecar.store.durability import is_durable
from sidecar.store.endpoint import PROOF, Endpoint
from sidecar.store.errors import StoreNotAdopted, StoreRefused, StoreUnavailable, is_of_disk, translate
from sidecar.store.link import Command, PushHandler
from sidecar.store.script import Script
from sidecar.store.server import SingleServer
from sidecar.store.tracking import Tracking

Argument = str | bytes | int | float
ScriptCall = tuple[Script, Sequence[str], Sequence[Argument]]


class Transport(Protocol):
    """What a kind of store set-up must be able to do."""

    @property
    def failure(self) -> StoreUnavailable | None: ...
    async def exchange(self, commands: Sequence[Command]) -> list[Any]: ...
    async def endpoints(self) -> list[Endpoint]: ...
    async def close(self) -> None: ...


class Store:
    """Commands, pipelines and scripts; see `connect`."""

    def __init__(self, transport: Transport, *, fails_over: bool) -> None:
        self._transport = transport
        self._fails_over = fails_over
        # A primary of a Cluster that was cut off refuses reads too, by itself (CLUSTERDOWN).
        self._may_be_left = fails_over and self.answers_in_order

    @property
    def failure(self) -> StoreUnavailable | None:
        """Why the store does not answer at the moment; None while it does."""
        return self._transport.failure

    @property
    def answers_in_order(self) -> bool:
        """Whether the commands of a pipeline are executed one after the other; on a Cluster each server has its own."""
        return not isinstance(self._transport, Cluster)

    async def call(self, *command: Argument) -> Any:
        """The reply to one command."""
        return _reply((await self._transport.exchange([command]))[0])

    async def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to `commands`, sent in one trip (in a Cluster: one to each server); not a transaction.

        Raises for the first command that was refused; the others were executed nevertheless.
        """
        if not commands:
            return []
        return [_reply(reply) for reply in await self._transport.exchange(commands)]

    async def pipeline_of_primary(self, commands: Sequence[Command]) -> list[Any]:
        """As `pipeline`, from a server that is still the primary: where Sentinel may have put another one in its place, it must
        take a write as well. One that was cut off goes on answering reads. Raises StoreUnavailable when it takes none.
        """
        if not self._may_be_left:
            return await self.pipeline(commands)
        written, *replies = await self._transport.exchange([PROOF, *commands])
        # What is in memory is as good as before a disk failed; but of missing replicas such a server says nothing.
        if not is_of_disk(written):
            _reply(written)
        return [_reply(reply) for reply in replies]

    async def pipeline_each(self, commands: Sequence[Command]) -> list[Any]:
        """As `pipeline`, but with a StoreUnavailable in the place of each command that was refused; raises when none is answered."""
        if not commands:
            return []
        return [translate(reply) if isinstance(reply, Exception) else reply for reply in await self._transport.exchange(commands)]

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """The reply of `script`; `keys` must all be in one hash slot."""
        return _reply((await self._run([(script, keys, args)]))[0])

    async def run_many(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """The replies of several scripts in one trip; one that was refused has a StoreUnavailable in its place."""
        if not calls:
            return []
        return [translate(reply) if isinstance(reply, Exception) else reply for reply in await self._run(calls)]

    async def of_each(self, *command: Argument, timeout: float) -> dict[str, Any]:
        """What each server that holds keys replies to a command about none, by its name, with a StoreUnavailable for no reply."""
        endpoints = await self._transport.endpoints()
        replies = await asyncio.gather(*(endpoint.ask(command, timeout) for endpoint in endpoints))
        return dict(zip((endpoint.name for endpoint in endpoints), replies, strict=True))

    async def durable(self) -> bool:
        """Whether everything written so far would survive the loss of a server.

        Waits for the append-only file and for a replica, for each where the server has it. False when
        one does not confirm, when there is neither, or when the server cannot tell (Redis before 7.2
        with anything less than `appendfsync always` and no replica).
        """
        try:
            endpoints = await self._transport.endpoints()
        except StoreUnavailable:
            return False
        return bool(endpoints) and all(await asyncio.gather(*(is_durable(endpoint) for endpoint in endpoints)))

    async def time(self) -> float:
        """Unix seconds by the store's clock; of a Cluster by that of any of its servers."""
        seconds, microseconds = await self.call("TIME")
        return int(seconds) + int(microseconds) / 1_000_000

    async def track(self, prefixes: Sequence[str], on_change: PushHandler, question: Command) -> Tracking:
        """Connections of their own that report every change of a name with one of `prefixes`; see `Tracking`.

        `question` is a command about one name, asked again with each proof. Raises StoreUnavailable.
        """
        if not self._fails_over:
            # What calls are answered is remembered under the proofs of these connections, and they may lead elsewhere by now.
            (written,) = await self._transport.exchange([PROOF])
            if isinstance(written, ReadOnlyError):
                raise translate(written)
        return await Tracking.open(self._transport.endpoints, prefixes, on_change, question, prove_by_write=self._fails_over)

    async def close(self) -> None:
        """Let go of every connection."""
        await self._transport.close()

    async def _run(self, calls: Sequence[ScriptCall]) -> list[Any]:
        replies = await self._transport.exchange([_call("EVALSHA", call[0].sha, call) for call in calls])
        unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            # A server that does not know a script has not begun it; EVAL makes it known as well.
            again: list[Command] = [
                ("EVAL", calls[index][0].text, len(calls[index][1]), *calls[index][1], *calls[index][2]) for index in unknown
            ]
            try:
                found = await self._transport.exchange(again)
            except StoreUnavailable as error:
                # The others have been run, and whoever asked for them must learn of it.
                found = [error] * len(again)
            for index, reply in zip(unknown, found, strict=True):
                replies[index] = reply
        return replies


async def connect(settings: declaration.Store, data_dir: Path, *, timeout: float = 0.25) -> Store:
    """The store of `settings`. Waits at most `timeout` seconds, the deadline of every later call too.

    A store that is down is waited for in the background. Raises ValueError for a URL that makes no sense.
    """
    address = resolve(settings, data_dir)
    transport: SingleServer | Cluster = Cluster(address, timeout) if address.kind == "cluster" else SingleServer(address, timeout)
    await transport.start()
    return Store(transport, fails_over=address.fails_over)


def _call(command: str, script: str, call: ScriptCall) -> Command:
    return (command, script, len(call[1]), *call[1], *call[2])


def _reply(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise translate(reply)
    return reply


__all__ = ["PROOF", "Argument", "Script", "Store", "StoreNotAdopted", "StoreRefused", "StoreUnavailable", "Tracking", "connect"]
