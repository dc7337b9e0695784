"""Many keys cost no more than few: counted in trips and commands, and in what a worker remembers.

Times for a million keys: `python -m benchmarks.many_keys`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.many_keys import SMALL, Full, fill, looking_up, searches
from sidecar.keys.listing import Query
from tests.support.store import Server, open_store

MANY = 20_000
CACHE = 500


class Spy:
    """Counts what a store is asked: trips, commands, and the members and bytes that come back."""

    def __init__(self, full: Full, patch: pytest.MonkeyPatch) -> None:
        self.counts: Counter[str] = Counter()
        self._exchange = full.store._transport.exchange
        patch.setattr(full.store._transport, "exchange", self._counted)

    async def _counted(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        replies = await self._exchange(commands)
        self.counts += Counter(trips=1, commands=len(commands), answered=sum(_size(reply) for reply in replies))
        return replies

    def take(self) -> Counter[str]:
        """What was counted since the last time."""
        taken, self.counts = self.counts, Counter()
        return taken


def _size(reply: Any) -> int:
    return sum(_size(part) for part in reply) if isinstance(reply, list | tuple) else 1


@asynccontextmanager
async def filled(directory: Path, count: int) -> AsyncIterator[Full]:
    server = Server(directory / "store", append_only=False)
    server.start()
    with ExitStack() as stack:
        stack.callback(server.close)
        store = await open_store(server, timeout=5.0)
        try:
            yield await fill(store, directory, count, sample=2000)
        finally:
            await store.close()


async def costs(full: Full, patch: pytest.MonkeyPatch) -> dict[str, Counter[str]]:
    """What each question costs."""
    found = {}
    with patch.context() as watched:
        spy = Spy(full, watched)
        for name, query in searches(full.count).items():
            spy.take()
            await full.repository.list(query)
            found[name] = spy.take()
        await full.repository.find_first([full.repository._digester.primary(full.tokens[7].encode())])
        found["look-up"] = spy.take()
    return found


async def test_twenty_thousand_keys_cost_what_a_thousand_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with filled(tmp_path / "few", SMALL) as few:
        small = await costs(few, monkeypatch)
    async with filled(tmp_path / "many", MANY) as many:
        large = await costs(many, monkeypatch)
        for name, cost in large.items():
            for what, count in cost.items():
                assert count <= 2 * small[name][what], f"{name}: {count} {what} instead of {small[name][what]}"
        assert large["look-up"]["trips"] == 2
        # The pages lead to every key, once.
        seen: list[str] = []
        cursor = None
        while True:
            page = await many.repository.list(Query(q="app-00199", limit=37, cursor=cursor))
            seen += [key.name for key in page.keys]
            if (cursor := page.next_cursor) is None:
                break
        assert seen == [f"app-{number:07}" for number in range(19_999, 19_899, -1)]
        # The deadline is no question here, and a busy machine may miss it.
        monkeypatch.setattr("sidecar.keys.lookup.ANSWER_WITHIN", 30.0)
        await remembered(many)


async def remembered(full: Full) -> None:
    """A worker remembers no more keys than its cache holds, and goes on finding all of them."""
    async with looking_up(full, CACHE) as (lookup, cache):
        for start in range(0, len(full.tokens), 100):
            found = await asyncio.gather(*(lookup.resolve(token.encode()) for token in full.tokens[start : start + 100]))
            assert all(found)
            assert len(cache) <= CACHE
        assert len(cache) == CACHE
        assert len(cache._digests) <= CACHE
