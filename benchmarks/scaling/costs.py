"""What things cost the store's one thread, measured on a real server."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from benchmarks.processes import cpu_seconds
from benchmarks.scaling.fleet import Costs
from sidecar.keys.record import Key, Limits
from sidecar.limits.turn import plan, turn
from sidecar.store import names
from sidecar.store.client import Store, connect
from sidecar.store.script import load
from tests.support.store import Server


async def measure() -> Costs:
    """The unit costs on this machine, but for an event's, which is not the same for each fleet."""
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
    await store.call("SET", names.digest("d"), "key_1")
    await store.call("HSET", names.key("key_1"), "record", secrets.token_hex(300))
    question = ("HMGET", names.META, "epoch", "pepper:p")

    async def look_up() -> None:
        await store.pipeline([question, ("GET", names.digest("d"))])
        await store.pipeline([question, ("HGET", names.key("key_1"), "record")])

    lookup = await cost(4000, look_up)
    limited = plan(Key("key_1", "app", 0.0, limits=Limits(rpm=1_000_000)), "enforce")
    assert limited is not None
    script = load("limits")
    ask = [(f"r{number}", 300) for number in range(16)]
    admission = await cost(400, lambda: store.run(script, limited.names, turn(limited, 0.0, asking=ask))) / len(ask)
    listeners = [await store.track(names.TRACKED_PREFIXES, lambda changed: None, question) for _ in range(200)]
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
    return Costs(heartbeat, admission, max(0.0, reported - alone) / len(listeners), lookup, memory)


def _used_memory(info: bytes) -> int:
    return int(info.partition(b"used_memory:")[2].split()[0])
