"""The cases whose work is counted: exchanges of the data plane, and what the control process makes of their events."""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.load.request import chat, get, stream
from benchmarks.upstream import LARGE_ANSWER, SMALL_ANSWER, STREAM_HEAD, event
from benchmarks.work.counting import Work, counted
from benchmarks.work.driven import Loop, Plane
from benchmarks.work.folding import EVENTS as FOLDED
from benchmarks.work.folding import Folding
from sidecar.worker.authz.plane import AuthzPlane

WARM_UP = 20
COUNTED = 10
EVENTS = 50
GARBAGE = "ahk_" + "0" * 49

Result = TypeVar("Result")
Exchange = Callable[[], Awaitable[bytes]]


@dataclass(frozen=True)
class Figures:
    """The work of one exchange, of one event of a stream, of one event that is folded."""

    calls: float
    builtins: float
    instructions: float
    writes: float
    """To the hub and to the client: each is a system call."""
    modules: Mapping[str, float]
    """Where the instructions are."""
    units: int
    """Units of work in one repetition: the events of a stream."""

    def counts(self) -> dict[str, float]:
        """What a budget bounds."""
        return {"calls": self.calls, "builtins": self.builtins, "instructions": self.instructions, "writes": self.writes}


class Bench:
    """What the cases need."""

    def __init__(self, loop: Loop, directory: Path) -> None:
        for name in ("plane", "authz", "fold"):
            (directory / name).mkdir()
        self.plane = Plane(loop, directory / "plane")
        self.authz = Plane(loop, directory / "authz", AuthzPlane)
        self.folding = Folding(directory / "fold")

    def writes(self) -> int:
        """How often anything was written to a socket."""
        return self.plane.writes() + self.authz.client.writes

    def close(self) -> None:
        """Let go of all files."""
        self.plane.close()
        self.authz.close()
        self.folding.close()


def exchanges(bench: Bench) -> dict[str, tuple[Exchange, int]]:
    """By name: what to repeat, and the number of units of work in it."""
    plane, folding = bench.plane, bench.folding
    post = plane.request(chat().with_keys(plane.key))
    fetch = plane.request(get().with_keys(plane.key))
    streamed = plane.request(stream(1, 1).with_keys(plane.key))
    revoked = plane.request(chat().with_keys(plane.revoked_key))
    garbage = plane.request(chat().with_keys(GARBAGE))
    question = bench.authz.question(chat().with_keys(bench.authz.key))
    half = len(LARGE_ANSWER) // 2
    # A stream's own beginning and end are spread over its events.
    events = [event(number, 1234.5678, last=number + 1 == EVENTS) for number in range(EVENTS)]
    return {
        "post": (lambda: plane.exchange(post, SMALL_ANSWER), 1),
        "get": (lambda: plane.exchange(fetch, SMALL_ANSWER), 1),
        "large answer": (lambda: plane.exchange(post, LARGE_ANSWER[:half], LARGE_ANSWER[half:]), 1),
        "stream event": (lambda: plane.exchange(streamed, STREAM_HEAD, *events, b"0\r\n\r\n"), EVENTS),
        "revoked key": (lambda: plane.refuse(revoked), 1),
        "garbage key": (lambda: plane.refuse(garbage), 1),
        "question": (lambda: bench.authz.refuse(question), 1),
        "folded event": (lambda: folding.fold(1), FOLDED),
        "folded event, each of another key": (lambda: folding.fold(FOLDED), FOLDED),
    }


def names() -> list[str]:
    """Of all cases."""

    async def ask(bench: Bench) -> list[str]:
        return list(exchanges(bench))

    return with_bench(ask)


async def count(bench: Bench, name: str) -> Figures:
    """Count the work of one case."""
    exchange, units = exchanges(bench)[name]
    for _ in range(max(2, WARM_UP // units)):
        await exchange()
    before = bench.writes()
    work = Work()
    repeats = max(2, COUNTED // units)
    gc.disable()
    try:
        with counted(work):
            for _ in range(repeats):
                await exchange()
    finally:
        gc.enable()
    total = repeats * units
    modules = {module: number / total for module, number in work.modules.most_common()}
    return Figures(work.calls / total, work.builtins / total, work.instructions / total, (bench.writes() - before) / total, modules, units)


async def spend(bench: Bench, name: str, repeats: int) -> float:
    """Repeat one case; the microseconds of processor time for each unit of work."""
    exchange, units = exchanges(bench)[name]
    for _ in range(WARM_UP):
        await exchange()
    begin = time.process_time()
    for _ in range(repeats):
        await exchange()
    return 1e6 * (time.process_time() - begin) / repeats / units


def with_bench(work: Callable[[Bench], Coroutine[Any, Any, Result]]) -> Result:
    """Run `work` with a new data plane and a new fold."""
    loop = Loop()

    async def run(directory: Path) -> Result:
        bench = Bench(loop, directory)
        try:
            return await work(bench)
        finally:
            bench.close()

    with tempfile.TemporaryDirectory() as directory, asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(run(Path(directory)))
