"""Random lives of keys against a model of a few lines: nothing is ever admitted that the model refuses.

Writers fail at random points, before or after what they asked for was done. Then the model takes the
more permissive of both outcomes; while nothing has failed, it and the sidecar must agree exactly.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.keys.cache import MISS, KeyCache
from sidecar.keys.issue import MOST_SECRETS, TooManySecrets
from sidecar.keys.lease import Lease
from sidecar.keys.lookup import Lookup
from sidecar.keys.reader import KeyReader
from sidecar.keys.record import secret_is_live, status
from sidecar.keys.repository import KeyIsRevoked, KeyRepository
from sidecar.store.client import Store, StoreUnavailable
from tests.support.keys import Keys, change, open_keys, shape
from tests.support.store import Server, open_store, until

FOR_EVER = float("inf")
ACTS = ["create", "rotate", "rotate now", "revoke", "disable", "enable", "expire", "keep", "wait", "cut"]
STEPS = st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 5), st.integers(0, 60)), min_size=1, max_size=25)


@dataclass
class Model:
    """When each token of a key is valid, at most: until its own end and that of its key."""

    until: float = FOR_EVER
    on: bool = True
    revoked: bool = False
    tokens: dict[str, float] = field(default_factory=dict)
    certain: bool = True

    def allows(self, token: str, now: float) -> bool:
        return self.on and not self.revoked and now < self.until and now < self.tokens[token]


class Failing:
    """A store that fails now and then, having done what it was asked or not."""

    def __init__(self, store: Store, chance: random.Random, share: float) -> None:
        self._store = store
        self._chance = chance
        self._share = share
        self.failed = False

    async def _maybe(self, act: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        fate = self._chance.random()
        if fate < self._share / 2:
            self.failed = True
            raise StoreUnavailable("before")
        result = await act(*args)
        if fate < self._share:
            self.failed = True
            raise StoreUnavailable("after")
        return result

    async def pipeline(self, commands: Sequence[Any]) -> Any:
        return await self._maybe(self._store.pipeline, commands)

    async def run(self, *call: Any) -> Any:
        return await self._maybe(self._store.run, *call)

    async def run_many(self, calls: Sequence[Any]) -> Any:
        return await self._maybe(self._store.run_many, calls)

    async def durable(self) -> bool:
        return True


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as directory:
        server = Server(Path(directory) / "valkey", append_only=False)
        server.start()
        yield server
        server.close()


@settings(max_examples=25, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 1000), share=st.sampled_from([0.0, 0.15]))
def test_nothing_is_admitted_that_the_model_refuses(server: Server, steps: list[tuple[str, int, int]], seed: int, share: float) -> None:
    asyncio.run(live(server, steps, random.Random(seed), share))


async def live(server: Server, steps: list[tuple[str, int, int]], chance: random.Random, share: float) -> None:
    store = await open_store(server, timeout=2.0)
    await store.call("FLUSHALL")
    with tempfile.TemporaryDirectory() as directory:
        keys = await open_keys(store, Path(directory))
        failing = Failing(store, chance, share)
        writer = KeyRepository(failing, keys.adoption, keys.digester, clock=keys.clock)  # type: ignore[arg-type]
        cache = KeyCache(4)
        lease = Lease(store, keys.adoption, cache, lambda changed: None)
        lookup = Lookup(KeyReader(store, keys.adoption), cache, lease, keys.digester)
        task = asyncio.create_task(lease.run())
        await until(lease.fresh)
        try:
            world: dict[str, Model] = {}
            for act, which, amount in steps:
                failing.failed = False
                await one_step(act, which, float(amount), keys, writer, failing, world)
                await agree(world, lookup, keys)
        finally:
            task.cancel()
            await asyncio.wait([task])
            await store.close()


async def one_step(
    act: str, which: int, amount: float, keys: Keys, writer: KeyRepository, failing: Failing, world: dict[str, Model]
) -> None:
    now = keys.clock.now
    if act == "wait":
        keys.clock.now += amount
        return
    if act == "create":
        try:
            issued = await writer.create(shape())
        except StoreUnavailable:
            return
        world[issued.key.id] = Model(tokens={issued.token: FOR_EVER})
        return
    if not world:
        return
    key_id = sorted(world)[which % len(world)]
    model = world[key_id]
    try:
        await change_key(act, amount, key_id, model, writer, now)
    except KeyIsRevoked:
        assert model.revoked or not model.certain
    except StoreUnavailable:
        assert failing.failed
        # Done or not: from now on only "never too much" is asked of this key.
        model.certain = False


async def change_key(act: str, amount: float, key_id: str, model: Model, writer: KeyRepository, now: float) -> None:
    if act in ("rotate", "rotate now"):
        grace = amount if act == "rotate" else 0.0
        alive = [token for token, end in model.tokens.items() if now < end]
        try:
            issued = await writer.rotate(key_id, grace)
        except TooManySecrets:
            assert grace and (len(alive) == MOST_SECRETS or not model.certain)
            return
        model.tokens = {token: min(end, now + grace) for token, end in model.tokens.items()} | {issued.token: FOR_EVER}
    elif act == "revoke":
        await writer.revoke(key_id)
        model.revoked = True
    elif act == "disable":
        await writer.update(key_id, change(disabled=True))
        model.on = False
    elif act == "enable":
        was, model.on = model.on, True
        try:
            await writer.update(key_id, change(disabled=False))
        except KeyIsRevoked:
            model.on = was
            raise
    elif act in ("expire", "keep"):
        end = now + amount if act == "expire" else FOR_EVER
        was_until, model.until = model.until, max(model.until, end)
        try:
            await writer.update(key_id, change(expires_at=end if end < FOR_EVER else None))
        except KeyIsRevoked:
            model.until = was_until
            raise
        model.until = end
    else:
        key = await writer.get(key_id)
        assert key is not None
        retiring = [secret for secret in key.secrets if secret.state == "retiring"]
        if retiring:
            await writer.end_secret(key_id, retiring[0].id)
            # None, if it came from a rotation that failed after it was done: nobody was shown its token.
            ended = [token for token in model.tokens if token[-4:] == retiring[0].hint[-4:]]
            model.tokens |= {token: min(model.tokens[token], now) for token in ended}


async def agree(world: dict[str, Model], lookup: Lookup, keys: Keys) -> None:
    """Within a moment (changes travel) every token is admitted exactly as the model says."""
    for model in world.values():
        for token in model.tokens:

            async def agreed(model: Model = model, token: str = token) -> bool:
                admitted = await admits(lookup, token, keys.clock.now)
                allowed = model.allows(token, keys.clock.now)
                return admitted == allowed if model.certain else admitted <= allowed

            await until(agreed)


async def admits(lookup: Lookup, token: str, now: float) -> bool:
    answer = lookup.cached(token.encode())
    found = await lookup.resolve(token.encode()) if answer is MISS else answer
    return found is not None and status(found.key, now) == "active" and secret_is_live(found.secret, now)
