"""Which server the sentinels call the primary: by the word of the one among them that knows of the latest failover.

One that was cut off from the others goes on naming the primary of before, for as long as that lasts. redis-py believes whoever
is first to name any, and asks that one first from then on.
"""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio.client import Redis
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel

State = dict[str, Any]


class Sentinels(Sentinel):
    """Asks all at once, and waits for the answers of more than half of them, one of which names a primary."""

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Host and port of the primary; raises MasterNotFoundError."""
        asked = [asyncio.ensure_future(self._ask(sentinel, service_name)) for sentinel in self.sentinels]
        answered, named = 0, list[State]()
        try:
            for told in asyncio.as_completed(asked):
                state = await told
                if state is None:
                    continue
                answered += 1
                if state and self.check_master_state(state, service_name):
                    named.append(state)
                if named and answered > len(asked) // 2:
                    break
        finally:
            for one in asked:
                one.cancel()
        if not named:
            raise MasterNotFoundError(f"no sentinel names a primary of {service_name!r}")
        latest = max(named, key=lambda state: int(state.get("config-epoch", 0)))
        return latest["ip"], latest["port"]

    async def _ask(self, sentinel: Redis, service_name: str) -> State | None:
        """What `sentinel` knows of the primary; empty when it knows none, None when it does not answer."""
        try:
            known: Any = await sentinel.sentinel_masters()
        except Exception:
            # Whatever is wrong with one of them, and be it that it is no sentinel, the others may answer.
            return None
        state: State = known.get(service_name, {})
        return state
