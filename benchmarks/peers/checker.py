"""The smallest key checker for proxies that ask one over HTTP: 200 for the key in its arguments, else 401.

`python -m benchmarks.peers.checker PORT KEY` runs it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

import uvloop
from aiohttp import web

from benchmarks.peers.peer import free_port
from benchmarks.processes import Processes


class Checker:
    """The process, for a peer."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self.port = free_port()

    def start(self, key: str) -> None:
        """Start it, for one key."""
        self._processes.start("checker", [sys.executable, "-m", "benchmarks.peers.checker", str(self.port), key])


async def _serve(port: int, key: str) -> None:
    expected = f"Bearer {key}"

    async def check(request: web.BaseRequest) -> web.Response:
        return web.Response(status=200 if request.headers.get("Authorization") == expected else 401)

    runner = web.ServerRunner(web.Server(check, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.checker", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("key")
    given = parser.parse_args()
    uvloop.run(_serve(given.port, given.key))


if __name__ == "__main__":
    main()
