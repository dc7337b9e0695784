"""What the detection costs: `python -m benchmarks.anomaly.cost [keys] [requests a second]`.

Traffic of many keys at a steady rate goes through the sums and the detectors as in the control process;
printed are CPU microseconds for each request, what the process weighs, and the longest single look.
"""

from __future__ import annotations

import gc
import random
import sys
import time
from pathlib import Path

from sidecar.control.anomaly.detectors import memory as memories
from sidecar.control.anomaly.detectors.baseline import NO_PEAKS, Baseline, greater
from sidecar.control.anomaly.detectors.memory import Memory
from sidecar.control.anomaly.detectors.networks import Networks
from sidecar.control.anomaly.observer import Observer
from sidecar.control.totals.sums import Sums
from sidecar.events.record import Request, Tokens
from sidecar.events.wire import encode

EPOCH = 1767571200
SECONDS, WARM = 60, 30
SAVE_EVERY = 30
PAGE_SIZE = 4096
NETWORKS = 3


def main(keys: int, rate: int) -> None:
    rng = random.Random(1)
    observer = Observer(Networks(b"cost"), str)
    ids = [f"key_{index:016d}" for index in range(keys)]
    networks = [[f"{rng.randrange(1, 200)}.{rng.randrange(256)}.{rng.randrange(256)}.7" for _ in range(NETWORKS)] for _ in ids]
    for key_id in ids:
        # A key that is learnt first, with the peaks of an ordinary week: the detectors see what they nearly always see, nothing.
        memory = Memory(EPOCH, last_used=EPOCH - 60)
        peaks = greater((5 * rate, 5 * rate, 50 * rate, 10**9, 10**9, 10**9), NO_PEAKS)
        memory.baseline = Baseline(peaks, [(EPOCH // 86400 - day, peaks) for day in range(7, 0, -1)])
        observer.admit(key_id, memory)
    base = _weight()
    counting = looking = saving = longest = 0.0
    requests = 0
    for second in range(SECONDS):
        if second == WARM:
            for watch in observer.watches.values():
                watch.memory.born, watch.memory.requests = EPOCH - 10 * 86400, 1000
        sums = Sums()
        sums.add([encode(_request(rng, ids, networks, EPOCH + second + rng.random())) for _ in range(rate)])
        gc.collect()
        began = time.process_time()
        for row in sums.rows:
            observer.sums.count(row)
        counted = time.process_time()
        observer.tick(EPOCH + second)
        looked = time.process_time()
        if second % SAVE_EVERY == SAVE_EVERY - 1:
            for key_id in observer.changed:
                memories.encode(observer.watches[key_id].memory)
            observer.changed.clear()
        saved = time.process_time()
        if second >= WARM:
            counting, looking, saving = counting + counted - began, looking + looked - counted, saving + saved - looked
            longest = max(longest, looked - counted)
            requests += rate
    sizes = [len(memories.encode(watch.memory)) for watch in observer.watches.values()]
    micro = 1e6 / requests
    print(f"{keys} keys, {rate} requests/s")
    print(f"CPU for each request   {(counting + looking + saving) * micro:.2f} µs")
    print(f"  sums                 {counting * micro:.2f} µs")
    print(f"  detectors            {looking * micro:.2f} µs")
    print(f"  saving               {saving * micro:.2f} µs")
    print(f"longest single look    {longest * 1000:.0f} ms")
    print(f"a memory, encoded      {sum(sizes) / len(sizes):.0f} B on average, {max(sizes)} B at most")
    print(f"the process            {_weight():.0f} MB, {_weight() - base:.0f} MB of it since the keys were known")


def _request(rng: random.Random, ids: list[str], networks: list[list[str]], moment: float) -> Request:
    index = rng.randrange(len(ids))
    return Request(
        moment, "req", ids[index], "sec", "ok", "", 200, 200, "POST", "chat_completions", "/api/v2/chat/completions", "vendor/model",
        "vendor/model", rng.choice(networks[index]), "openai-python/1.40", False, "complete", 0.2, 0.001, 0.0, 0.1, 0.2, 100, 1000,
        Tokens(100, 100), "hub",
    )  # fmt: skip


def _weight() -> float:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_SIZE / 1e6


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, int(sys.argv[2]) if len(sys.argv) > 2 else 12_000)
