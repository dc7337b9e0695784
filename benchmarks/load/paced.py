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

import uvloop

from benchmarks.load.request import chat
from benchmarks.load.wire import host_and_port, is_whole, raw_request
from benchmarks.statistics import percentile

WARM_UP = 0.2
"""Share of the answers that do not count: connections are being opened."""
LAST_WITHIN = 10.0


class Client(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
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
            self._pace.answered(self, time.perf_counter() - self._sent)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.lost = True


class Pace:
    """Keeps the pace, over as many connections as that takes."""

    def __init__(self, url: str, count: int) -> None:
        self.host, self.port = host_and_port(url)
        self._count = count
        self._free: list[Client] = []
        self.latencies: list[float] = []
        """In the order of answers."""
        self.done = asyncio.Event()

    async def run(self, request: bytes, rate: float) -> None:
        """Send all requests."""
        begin = time.perf_counter()
        for number in range(self._count):
            await asyncio.sleep(max(0.0, begin + number / rate - time.perf_counter()))
            client = await self._connection()
            client.send(request)

    def answered(self, client: Client, latency: float) -> None:
        """An answer is there."""
        self.latencies.append(latency)
        self._free.append(client)
        if len(self.latencies) == self._count:
            self.done.set()

    async def _connection(self) -> Client:
        while self._free:
            client = self._free.pop()
            if not client.lost:
                return client
        _, client = await asyncio.get_running_loop().create_connection(lambda: Client(self), self.host, self.port)
        return client


async def _run(url: str, key: str, rate: float, seconds: float) -> int:
    count = round(rate * seconds)
    pace = Pace(url, count)
    request = raw_request(chat(), key, f"{pace.host}:{pace.port}")
    await pace.run(request, rate)
    try:
        async with asyncio.timeout(LAST_WITHIN):
            await pace.done.wait()
    except TimeoutError:
        return 1
    counted = sorted(pace.latencies[round(count * WARM_UP) :])
    took = {name: 1e6 * percentile(counted, rank) for name, rank in (("p50", 50), ("p99", 99), ("longest", 100))}
    print(json.dumps({"requests": count, **took}), flush=True)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load.paced", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--seconds", type=float, default=5)
    given = parser.parse_args()
    return uvloop.run(_run(given.url, given.key, given.rate, given.seconds))


if __name__ == "__main__":
    sys.exit(main())
