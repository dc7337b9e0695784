"""A fixed number of requests a second, each timed: `python -m benchmarks.load.paced`, pinned like any load.

The pace is kept whatever the answers do: when no connection is free another one is opened, so a slow
answer cannot hide the ones behind it. Prints one line of JSON with latencies in microseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import cast
from urllib.parse import urlsplit

from benchmarks.load.request import chat
from benchmarks.load.wire import is_whole, raw_request
from benchmarks.statistics import percentile
from sidecar import loop

WARM_UP = 0.2
"""Share of the time whose answers do not count: connections are being opened."""


class Client(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, free: list[Client], latencies: list[float]) -> None:
        self._free = free
        self._latencies = latencies
        self._answer = b""
        self._sent = 0.0
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes) -> None:
        """Start an exchange."""
        self._answer = b""
        self._sent = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if is_whole(self._answer):
            self._latencies.append(time.perf_counter() - self._sent)
            self._free.append(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.lost = True


async def _run(url: str, key: str, rate: float, seconds: float) -> int:
    parts = urlsplit(url)
    request = raw_request(chat(), key, parts.netloc)
    running = asyncio.get_running_loop()
    free: list[Client] = []
    latencies: list[float] = []
    begin = time.perf_counter()
    count = round(rate * seconds)
    skipped = 0
    for number in range(count):
        await asyncio.sleep(max(0.0, begin + number / rate - time.perf_counter()))
        if number == round(count * WARM_UP):
            skipped = len(latencies)
        while free and free[-1].lost:
            free.pop()
        client = free.pop() if free else (await running.create_connection(lambda: Client(free, latencies), parts.hostname, parts.port))[1]
        client.send(request)
    deadline = time.perf_counter() + 10
    while len(latencies) < count and time.perf_counter() < deadline:
        await asyncio.sleep(0.01)
    counted = sorted(latencies[skipped:])
    if len(latencies) < count:
        return 1
    took = {name: 1e6 * percentile(counted, rank) for name, rank in (("p50", 50), ("p99", 99), ("longest", 100))}
    print(json.dumps({"requests": count, "seconds": time.perf_counter() - begin, **took}), flush=True)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load.paced", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--seconds", type=float, default=5)
    given = parser.parse_args()
    return loop.run(_run(given.url, given.key, given.rate, given.seconds))


if __name__ == "__main__":
    sys.exit(main())
