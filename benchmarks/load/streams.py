"""Many server-sent event streams at once: `python -m benchmarks.load.streams`, pinned like any load.

It says on standard output, a line of JSON each: `open` when every stream has its first event, `closing` when
the first one has its last, `done` with the delays. The first two carry the number of events so far, so that
what lies between them is a steady state. A delay is the time from the hub's write to our read.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from typing import cast

import uvloop

from benchmarks.load.request import stream
from benchmarks.load.wire import host_and_port, raw_request
from benchmarks.statistics import percentile

_SENT = re.compile(rb'"sent":([0-9.]+)[,}]')
_END = b"data: [DONE]"


class Stream(asyncio.Protocol):
    """One stream."""

    def __init__(self, tally: Tally, request: bytes) -> None:
        self._tally = tally
        self._request = request
        self._rest = b""
        self._begun = self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        data = self._rest + data
        end = 0
        found = 0
        for match in _SENT.finditer(data):
            end = match.end()
            found += 1
            self._tally.delays.append(now - float(match[1]))
        self._tally.merged += max(0, found - 1)
        if found and not self._begun:
            self._begun = True
            self._tally.begin()
        if not self._ended and data.find(_END, end) >= 0:
            self._ended = True
            self._transport.close()
            self._tally.end()
        self._rest = data[max(end, len(data) - 1024) :]

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self._ended:
            self._tally.broken += 1
            self._tally.end()


class Tally:
    """What all streams have seen."""

    def __init__(self, streams: int) -> None:
        self._waiting = self._open = streams
        self._closing = False
        self.delays: list[float] = []
        self.merged = 0
        """Events that arrived together with another one of their stream."""
        self.broken = 0
        self.done = asyncio.Event()

    def begin(self) -> None:
        """A stream has its first event."""
        self._waiting -= 1
        if self._waiting == 0:
            self.say("open")

    def end(self) -> None:
        """A stream has its last event, or broke off."""
        if not self._closing:
            # An early end must not be taken for a steady state.
            self._closing = True
            self.say("closing")
        self._open -= 1
        if self._open == 0:
            self.done.set()

    def say(self, what: str, **more: object) -> None:
        """Tell the parent."""
        print(json.dumps({"what": what, "events": len(self.delays), "time": time.monotonic(), **more}), flush=True)


async def _run(url: str, key: str, streams: int, chunks: int, every: float) -> int:
    host, port = host_and_port(url)
    request = raw_request(stream(chunks, every), key, f"{host}:{port}")
    tally = Tally(streams)
    running = asyncio.get_running_loop()
    for _ in range(streams):
        await running.create_connection(lambda: Stream(tally, request), host, port)
        # So that they do not all speak at the same moment; thousands of slow ones are opened in a second.
        await asyncio.sleep(min(every / streams, 0.001))
    await tally.done.wait()
    delays = sorted(tally.delays)
    if not delays:
        return 1
    p50, p99 = (1000 * percentile(delays, rank) for rank in (50, 99))
    tally.say("done", p50=p50, p99=p99, longest=1000 * delays[-1], merged=tally.merged, broken=tally.broken)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load.streams", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--chunks", type=int, default=100)
    parser.add_argument("--every", type=float, default=0.01)
    given = parser.parse_args()
    return uvloop.run(_run(given.url, given.key, given.streams, given.chunks, given.every))


if __name__ == "__main__":
    sys.exit(main())
