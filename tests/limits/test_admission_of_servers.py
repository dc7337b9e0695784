"""The limiter when only some of a store's servers answer, as in a Cluster: what fails does so alone; a store made up for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest

from sidecar.keys.record import Key, Limits
from sidecar.limits import admission as module
from sidecar.limits.admission import Limiter
from sidecar.store.client import StoreUnavailable

FAILING = Key(id="key_failing", name="failing", created_at=0, limits=Limits(max_concurrency=9))
HEALTHY = Key(id="key_healthy", name="healthy", created_at=0, limits=Limits(max_concurrency=9))
SOON = 5.0
"""Seconds after which something that should happen at once will never happen."""


class TwoServers:
    """One has the keys whose names say `failing`, the other all others, whom it admits.

    Notes the turns of each key, as (ended, renewed, names of who asks), and of each trip the keys that shared it.
    """

    def __init__(self) -> None:
        self.is_failing = False
        self.answering = asyncio.Event()
        """Cleared, a trip with a failing key takes until it is set."""
        self.answering.set()
        self.turns: dict[str, list[tuple[list[str], list[str], list[str]]]] = {FAILING.id: [], HEALTHY.id: []}
        self.trips: list[set[str]] = []

    async def run_many(self, calls: Sequence[Any]) -> list[Any]:
        keys = [FAILING.id if FAILING.id in names[0] else HEALTHY.id for _, names, _ in calls]
        self.trips.append(set(keys))
        replies: list[Any] = []
        for key, (_, _, arguments) in zip(keys, calls, strict=True):
            ended, renewed, asking, _ = msgspec.msgpack.decode(arguments[-1])
            self.turns[key].append(([hold for hold, _ in ended], renewed, [name for name, _ in asking]))
            if key == FAILING.id and self.is_failing:
                replies.append(StoreUnavailable("the key store did not answer in time"))
            else:
                answers = [["", "", 0, [f"slots/{name}/1"], -1, 0, -1, 0, -1, -1, 0] for name, _ in asking]
                replies.append(msgspec.msgpack.encode(answers))
        if FAILING.id in keys:
            await self.answering.wait()
        return replies

    def ends(self, key: Key) -> list[str]:
        """What was said to have ended, each time that it was said."""
        return [hold for ended, _, _ in self.turns[key.id] for hold in ended]


@pytest.fixture
async def servers() -> TwoServers:
    return TwoServers()


@pytest.fixture
async def limiter(servers: TwoServers, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Limiter]:
    monkeypatch.setattr(module, "RETRY", 0.01)
    monkeypatch.setattr(module, "RENEWAL", 0.01)
    limiter = Limiter(servers, "enforce")
    background = asyncio.create_task(limiter.run())
    yield limiter
    background.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await background


async def happens(condition: Any) -> None:
    async with asyncio.timeout(SOON):
        while not condition():
            await asyncio.sleep(0)


async def test_who_asks_a_server_that_fails_fails_alone(servers: TwoServers, limiter: Limiter) -> None:
    servers.is_failing = True
    failed, admitted = await asyncio.gather(limiter.admit(FAILING, "r", 1), limiter.admit(HEALTHY, "r", 1), return_exceptions=True)
    assert servers.trips[0] == {FAILING.id, HEALTHY.id}
    assert isinstance(failed, StoreUnavailable)
    assert not isinstance(admitted, BaseException)
    assert admitted.allowed


async def test_what_ended_at_a_server_that_fails_is_said_again_and_nothing_else_is(servers: TwoServers, limiter: Limiter) -> None:
    failing, healthy = await limiter.admit(FAILING, "r", 1), await limiter.admit(HEALTHY, "r", 1)
    servers.is_failing = True
    limiter.release(failing, 1, 1)
    limiter.release(healthy, 1, 1)
    await happens(lambda: len(servers.ends(FAILING)) > 2)
    servers.is_failing = False
    said = len(servers.ends(FAILING))
    await happens(lambda: len(servers.ends(FAILING)) > said)
    assert set(servers.ends(FAILING)) == set(failing.holds)
    assert servers.ends(HEALTHY) == list(healthy.holds)


async def test_nobody_waits_for_a_server_that_failed_just_now(servers: TwoServers) -> None:
    """A server that is frozen answers after a timeout only, and its whole trip with it."""
    limiter = Limiter(servers, "enforce")
    servers.is_failing = True
    with pytest.raises(StoreUnavailable):
        await limiter.admit(FAILING, "r", 1)
    await asyncio.sleep(0)  # until the trip is over: what is asked before goes as soon as it is
    servers.answering.clear()
    asking = asyncio.create_task(limiter.admit(FAILING, "r", 1))
    async with asyncio.timeout(SOON):
        assert (await limiter.admit(HEALTHY, "r", 1)).allowed
    assert not asking.done()
    servers.is_failing = False
    servers.answering.set()
    with pytest.raises(StoreUnavailable):
        await asking
    # The first to find it well again still goes apart, then they share trips as before.
    for shared in (False, True):
        servers.trips.clear()
        await asyncio.gather(limiter.admit(FAILING, "r", 1), limiter.admit(HEALTHY, "r", 1))
        assert ({FAILING.id, HEALTHY.id} in servers.trips) == shared


async def test_no_renewal_waits_for_a_server_that_failed_just_now(servers: TwoServers, limiter: Limiter) -> None:
    await limiter.admit(FAILING, "r", 1)
    await limiter.admit(HEALTHY, "r", 1)
    servers.is_failing = True
    tried = len(servers.turns[FAILING.id])
    await happens(lambda: len(servers.turns[FAILING.id]) > tried)
    servers.answering.clear()
    renewed = len(servers.turns[HEALTHY.id])
    await happens(lambda: len(servers.turns[HEALTHY.id]) > renewed + 2)
    servers.answering.set()
