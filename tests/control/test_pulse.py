"""What is done once, and what again, on a real store that is lost and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.control import pulse as module
from sidecar.control.pulse import Pulse
from sidecar.keys.admin_tokens import AdminTokens
from sidecar.store.client import Store, StoreUnavailable
from tests.support.keys import Keys, open_keys
from tests.support.store import Server, until


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY", 0.01)


@pytest.fixture
async def keys(store: Store, tmp_path: Path) -> Keys:
    return await open_keys(store, tmp_path)


class Done:
    """Counts what a pulse has done."""

    def __init__(self, keys: Keys) -> None:
        self.first = self.again = 0
        self.fails = False
        self.pulse = Pulse(keys.store, keys.adoption, self._first, self._again)

    async def _first(self) -> None:
        if self.fails:
            raise StoreUnavailable("gone")
        self.first += 1

    async def _again(self) -> None:
        self.again += 1


@asynccontextmanager
async def _running(pulse: Pulse) -> AsyncIterator[None]:
    task = asyncio.create_task(pulse.run())
    try:
        await until(lambda: pulse.began.is_set() and not pulse.failure)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_first_admin_token_opens_an_adopted_store_without_a_restart(keys: Keys, tmp_path: Path) -> None:
    tokens = AdminTokens(keys.store, keys.adoption, keys.digester)
    file = tmp_path / "admin-token"

    async def nothing() -> None:
        return

    pulse = Pulse(keys.store, keys.adoption, first=lambda: tokens.ensure_first(file), again=nothing)
    async with _running(pulse):
        token = file.read_bytes()
        assert await tokens.verify(token) is not None
        await keys.store.call("FLUSHALL")
        await until(lambda: "empty or another one" in pulse.failure)
        await keys.adoption.adopt(keys.store)
        await until(lambda: not pulse.failure)
        assert await tokens.verify(token) is not None


async def test_the_first_is_done_again_only_after_a_strange_store_and_until_it_is_done(keys: Keys, valkey: Server) -> None:
    done = Done(keys)
    async with _running(done.pulse):
        valkey.kill()
        await until(lambda: done.pulse.failure)
        valkey.start()
        await until(lambda: not done.pulse.failure)
        assert (done.first, done.again) == (1, 2)
        await keys.store.call("FLUSHALL")
        await until(lambda: "empty or another one" in done.pulse.failure)
        done.fails = True
        await keys.adoption.adopt(keys.store)
        await until(lambda: done.pulse.failure == "gone")
        assert done.first == 1
        done.fails = False
        await until(lambda: not done.pulse.failure)
        assert (done.first, done.again) == (2, 3)


async def test_a_store_that_is_strange_at_the_start_gets_the_first_once(keys: Keys) -> None:
    await keys.store.call("FLUSHALL")
    done = Done(keys)
    task = asyncio.create_task(done.pulse.run())
    await until(lambda: "empty or another one" in done.pulse.failure)
    await keys.adoption.adopt(keys.store)
    await until(lambda: not done.pulse.failure)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert done.first == 1


@pytest.mark.parametrize("fails_over", [True, False], ids=["with Sentinel", "alone"])
async def test_a_primary_that_no_worker_believes_is_no_store(keys: Keys, fails_over: bool) -> None:
    """Cut off, it goes on answering reads while each key gets 503; others in front of its successor serve."""
    store = Store(keys.store._transport, fails_over=fails_over)
    pulse = Done(replace(keys, store=store)).pulse
    async with _running(pulse):
        await keys.store.call("CONFIG", "SET", "min-replicas-to-write", "1")
        if fails_over:
            await until(lambda: "too few replicas" in pulse.failure)
            # Whoever only has to know whether it is the known store is not kept from it.
            await pulse.check()
            await keys.store.call("CONFIG", "SET", "min-replicas-to-write", "0")
            await until(lambda: not pulse.failure)
        else:
            asked = sum(pulse.durations[:-1])
            await until(lambda: sum(pulse.durations[:-1]) > asked + 3)
            assert not pulse.failure
