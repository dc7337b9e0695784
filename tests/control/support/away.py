"""A store of which some shards are away, as a Cluster's are whose server has died."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sidecar.store.client import Store, StoreUnavailable, Transport
from sidecar.store.endpoint import Endpoint
from sidecar.store.link import Command


class PartlyAway:
    """In place of a store's own transport, to which everything goes that is not about one of `shards`."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.shards: set[int] = set()

    @property
    def failure(self) -> StoreUnavailable | None:
        return self._inner.failure

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        away = StoreUnavailable("a server is away")
        alive = [command for command in commands if not self._is_away(command)]
        if commands and not alive:
            raise away
        replies = iter(await self._inner.exchange(alive))
        return [away if self._is_away(command) else next(replies) for command in commands]

    async def endpoints(self) -> list[Endpoint]:
        return await self._inner.endpoints()

    async def close(self) -> None:
        await self._inner.close()

    def _is_away(self, command: Command) -> bool:
        return any(f"{{u{shard}}}" in str(part) for part in command[1:4] for shard in self.shards)


def partly_away(store: Store) -> PartlyAway:
    """Lets shards of `store` be away."""
    store._transport = transport = PartlyAway(store._transport)
    return transport
