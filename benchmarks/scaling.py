"""How far one store carries: unit costs measured on a real server, and a simulation of many replicas on it.

`python -m benchmarks.scaling` measures what a heartbeat, an admission and the report of a changed key cost the
server, then plays some seconds of a fleet's life in a queue with those costs: heartbeats of every worker,
admissions of limited keys, revocations that are reported to every worker. Some workers' connections are
black holes: they hear nothing, and their lease runs out.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import random
import secrets
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import cpu_seconds
from benchmarks.statistics import percentile
from sidecar.keys.lease import HEARTBEAT, TRUSTED_FOR
from sidecar.keys.record import Key, Limits
from sidecar.limits.turn import plan, turn
from sidecar.store import names
from sidecar.store.client import Store, connect
from sidecar.store.script import load
from tests.support.store import Server

NETWORK = 0.0003
"""Seconds one way between a worker and the store."""
LOOP = 0.002
"""Seconds that a busy worker's loop may take to look at what has come, on average."""

_INDEXES = ("name", "owner", "hint", "created")


@dataclass(frozen=True)
class Costs:
    """Seconds of the server's one thread."""

    heartbeat: float
    admission: float
    report: float
    """Of a changed key to one worker."""
    memory: float
    """Bytes of one key with its index entries."""


@dataclass(frozen=True)
class Fleet:
    """What is simulated."""

    workers: int
    admissions: float
    """Requests of limited keys a second, over all workers."""
    revocations: float
    """Changed keys a second."""
    deaf: float = 0.01
    """Share of workers whose connection hears nothing."""


@dataclass(frozen=True)
class Outcome:
    """What came of it. Times in seconds, sorted."""

    busy: float
    """Share of the server's one thread."""
    revocation: Sequence[float]
    """From the answer to the operator until a worker refuses, over all workers."""
    admission: Sequence[float]


def simulate(fleet: Fleet, costs: Costs, seconds: float, seed: int = 1) -> Outcome:
    """Play `seconds` of the fleet's life. One server, first come, first served."""
    chance = random.Random(seed)
    arrivals: list[tuple[float, str]] = []
    for _ in range(fleet.workers):
        moment = chance.random() * HEARTBEAT
        while moment < seconds:
            arrivals.append((moment, "heartbeat"))
            moment += HEARTBEAT
    for kind, rate in (("admission", fleet.admissions), ("revocation", fleet.revocations)):
        moment = chance.expovariate(rate) if rate else seconds
        while moment < seconds:
            arrivals.append((moment, kind))
            moment += chance.expovariate(rate)
    heapq.heapify(arrivals)
    free_at = work = 0.0
    revocation: list[float] = []
    admission: list[float] = []
    while arrivals:
        moment, kind = heapq.heappop(arrivals)
        begun = max(free_at, moment)
        if kind == "heartbeat":
            cost = costs.heartbeat
        elif kind == "admission":
            cost = costs.admission
            admission.append(begun + cost - moment + 2 * NETWORK)
        else:
            cost = costs.heartbeat + costs.report * fleet.workers
            revocation += _heard(fleet, costs, begun - moment, chance)
        free_at = begun + cost
        work += cost
    return Outcome(work / max(seconds, free_at), sorted(revocation), sorted(admission))


def _heard(fleet: Fleet, costs: Costs, waited: float, chance: random.Random) -> list[float]:
    """When each worker refuses a key that was revoked: it hears of it, or its lease runs out and it asks."""
    times = []
    for place in range(fleet.workers):
        if chance.random() < fleet.deaf:
            # The last proof is at most a heartbeat old; afterwards every look-up asks the store.
            times.append(TRUSTED_FOR - chance.random() * HEARTBEAT + 2 * NETWORK + costs.heartbeat)
        else:
            times.append(waited + costs.report * (place + 1) + NETWORK + chance.expovariate(1 / LOOP))
    return times


async def measure() -> Costs:
    """The unit costs on this machine."""
    with tempfile.TemporaryDirectory() as directory:
        server = Server(Path(directory) / "store")
        server.start()
        try:
            store = await connect(server.settings(), Path(directory), timeout=30.0)
            try:
                return await _measure(server, store)
            finally:
                await store.close()
        finally:
            server.close()


async def _measure(server: Server, store: Store) -> Costs:
    assert server.process is not None
    pid = server.process.pid

    async def cost(count: int, work: Callable[[], Coroutine[Any, Any, Any]]) -> float:
        before = cpu_seconds(pid)
        for _ in range(count):
            await work()
        return (cpu_seconds(pid) - before) / count

    await store.call("HSET", names.META, "epoch", "e", "pepper:p", "f")
    heartbeat = await cost(8000, lambda: store.call("HMGET", names.META, "epoch", "pepper:p"))
    limited = plan(Key("key_1", "app", 0.0, limits=Limits(rpm=1_000_000)), "enforce")
    assert limited is not None
    script = load("limits")
    ask = [(f"r{number}", 300) for number in range(16)]
    admission = await cost(400, lambda: store.run(script, limited.names, turn(limited, 0.0, asking=ask))) / len(ask)
    listeners = [
        await store.track(names.TRACKED_PREFIXES, lambda changed: None, ("HMGET", names.META, "epoch", "pepper:p")) for _ in range(200)
    ]
    write = lambda: store.call("HSET", names.key("key_1"), "record", secrets.token_hex(8))  # noqa: E731
    reported = await cost(200, write)
    for listener in listeners:
        await listener.close()
    alone = await cost(2000, write)
    before = _used_memory(await store.call("INFO", "memory"))
    record = secrets.token_hex(300)
    for start in range(0, 20_000, 500):
        await store.pipeline(
            [
                command
                for number in range(start, start + 500)
                for command in (
                    ("HSET", names.key(f"key_{number:016}"), "record", record, "revision", 1),
                    ("SET", names.digest(f"{number:064x}"), f"key_{number:016}"),
                    *(
                        ("ZADD", names.index(field), 0, f"name {number}\0key_{number:016}")
                        for field in ("name", "owner", "hint", "created")
                    ),
                )
            ]
        )
    memory = (_used_memory(await store.call("INFO", "memory")) - before) / 20_000
    return Costs(heartbeat, admission, max(0.0, reported - alone) / len(listeners), memory)


def _used_memory(info: bytes) -> int:
    return int(info.partition(b"used_memory:")[2].split()[0])


FLEETS = (
    Fleet(10, 1_000, 1),
    Fleet(100, 10_000, 1),
    Fleet(1_000, 10_000, 1),
    Fleet(1_000, 10_000, 20),
    Fleet(1_000, 50_000, 1),
    Fleet(1_000, 200_000, 1),
)


def main() -> None:
    """Measure, simulate, print tables in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description="How far one store carries.")
    parser.add_argument("--seconds", type=float, default=5.0, help="of the fleet's life (5)")
    options = parser.parse_args()
    costs = asyncio.run(measure())
    print(
        f"heartbeat {costs.heartbeat * 1e6:.1f} µs, admission {costs.admission * 1e6:.1f} µs, "
        f"report to one worker {costs.report * 1e6:.1f} µs, a key {costs.memory:.0f} bytes\n"
    )
    print("| workers | admissions/s | changes/s | store busy | revocation p50 | p99 | worst | admission p99 |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    for fleet in FLEETS:
        came = simulate(fleet, costs, options.seconds)
        figures = [percentile(came.revocation, share) * 1000 for share in (50, 99, 100)]
        print(
            f"| {fleet.workers:,} | {fleet.admissions:,.0f} | {fleet.revocations:g} | {came.busy:.0%} | {figures[0]:.1f} ms "
            f"| {figures[1]:,.0f} ms | {figures[2]:,.0f} ms | {percentile(came.admission, 99) * 1000:.1f} ms |"
        )


if __name__ == "__main__":
    main()
