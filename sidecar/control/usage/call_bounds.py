"""Keeps the call log within its bounds. Every replica does so, at any moment, in the one log of all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from sidecar.control.usage.calls import PLACES, Header
from sidecar.store import names
from sidecar.store.client import Store
from sidecar.store.script import load

HEADERS = 256
"""Block headers of a place that are read at a time."""

_TRIM = load("trim_calls")


class CallLogBounds:
    """Drops the oldest calls beyond `max_count`, first those without a key beyond a quarter of it, and all older than `max_age` seconds."""

    def __init__(self, store: Store, *, max_count: int, max_age: float, clock: Callable[[], float]) -> None:
        self._store = store
        self._max_count = max_count
        self._max_age = max_age
        self._clock = clock

    async def trim(self) -> int:
        """Drop what is too much, unless another replica is at it; returns how many calls went. Raises StoreUnavailable."""
        dropped = 0
        while True:
            state = await self._state()
            *of_keys, keyless = [int(count or 0) for count, _ in state]
            # Who has no key makes as many calls as he likes, and must not make room for them among those of keys.
            share = self._max_count // 4
            victims = await self._victims([names.KEYLESS], keyless - share) if keyless > share else {}
            victims = victims or await self._victims(PLACES, sum(of_keys) + min(keyless, share) - self._max_count)
            if not victims:
                return dropped
            if [trims for _, trims in await self._state()] != [trims for _, trims in state]:
                # Another replica has dropped what was too much: these are the next ones, which are to stay. It goes on with the rest.
                return dropped
            done = await self._store.run_many(
                [(_TRIM, [names.calls(shard), names.call_blocks(shard)], members) for shard, members in victims.items()]
            )
            for one in done:
                if isinstance(one, Exception):
                    raise one
                dropped += one

    async def _state(self) -> list[list[bytes | None]]:
        """Of each place: how many calls are kept there, and how often some were dropped."""
        return await self._store.pipeline([("HMGET", names.call_blocks(place), "count", "trims") for place in PLACES])

    async def _victims(self, places: Sequence[int], excess: int) -> dict[int, list[bytes]]:
        # The log is that of all replicas: one whose clock is ahead must not drop it.
        before = min(self._clock(), await self._store.time()) - self._max_age
        # With few enough calls only what is too old goes, which mostly is nothing.
        bounds = ("-inf", "+inf" if excess > 0 else f"({before!r}", "BYSCORE", "LIMIT", 0, HEADERS, "WITHSCORES")
        oldest = await self._store.pipeline([("ZRANGE", names.calls(shard), *bounds) for shard in places])
        found_in = zip(places, oldest, strict=True)
        headers = sorted(Header.parse(shard, member, float(score)) for shard, found in found_in for member, score in found)
        # A shard may have more than it told of: what ends behind its last one is no victim before those.
        sure = min((float(found[-1][1]) for found in oldest if len(found) == HEADERS), default=math.inf)
        victims: dict[int, list[bytes]] = {}
        for header in headers:
            # A block goes when everything in it is too old, or when without it there are still enough calls.
            if header.last > sure or (header.last >= before and excess < header.calls):
                break
            victims.setdefault(header.shard, []).append(header.member)
            excess -= header.calls
        return victims
