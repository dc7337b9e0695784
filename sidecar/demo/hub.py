"""The demo hub as a server: `python -m sidecar.demo.hub --port 3000`, or `DemoHub` inside a test."""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aiohttp import web

from sidecar.demo.access_key import ACCESS_KEY
from sidecar.demo.aigne import AigneHub
from sidecar.demo.exchange import Answer, Call, complete_head, html, json_answer, preflight
from sidecar.demo.openai import OpenAiHub
from sidecar.demo.provider import FAULTS
from sidecar.demo.recording import KEPT_REQUESTS, BodyRecord, Recorded, Recorder

LARGEST_BODY = 30 << 20
RECORD_PATH = "/__demo__/requests"


class Routes(Protocol):
    """A set of routes."""

    async def answer(self, call: Call) -> Answer:
        """Answer one request."""


@dataclass(frozen=True)
class Options:
    """How a demo hub behaves."""

    protocol: str = "aigne"
    """`aigne` or `openai`."""
    access_key: str = ACCESS_KEY
    delay: float = 0.0
    """Seconds between two words of a stream."""
    mount: str = ""
    """Path prefix, as behind a gateway: `/ai-kit`."""
    shows_requests: bool = False
    """Whether RECORD_PATH tells what was received; for tests in another process."""
    remembered: int = KEPT_REQUESTS
    """How many requests `DemoHub.requests` has at most, bodies and all."""


class DemoHub:
    """A running demo hub. `requests` has what it received."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self.requests = Recorder(deque(maxlen=self.options.remembered))
        self.url = ""
        self.aigne = AigneHub(self.options.access_key, self.options.delay, mounted=bool(self.options.mount))
        openai = OpenAiHub(self.options.access_key, self.options.delay)
        self._routes: Routes = openai if self.options.protocol == "openai" else self.aigne
        application = web.Application(client_max_size=1 << 40)
        application.router.add_route("*", "/{path:.*}", self._handle)
        application.on_response_prepare.append(complete_head)
        self._runner = web.AppRunner(application, access_log=None, auto_decompress=False, shutdown_timeout=1.0)

    async def start(self, host: str = "127.0.0.1", port: int = 0, *, unix: Path | None = None) -> str:
        """Listen; returns the URL, with the mount prefix and a last slash."""
        await self._runner.setup()
        if unix is not None:
            await web.UnixSite(self._runner, unix).start()
            self.url = f"unix://{unix}"
            return self.url
        await web.TCPSite(self._runner, host, port, backlog=1024).start()
        bound = self._runner.addresses[0][1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{bound}{self.options.mount}/"
        return self.url

    async def stop(self) -> None:
        """End at once, with all that is under way."""
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> Answer:
        if self.options.shows_requests and request.path == RECORD_PATH:
            return self._show(request)
        recorded = Recorded(request.method, request.raw_path, tuple((bytes(name), bytes(value)) for name, value in request.raw_headers))
        self.requests.begin(recorded)
        try:
            body = await _read(request, recorded)
            if recorded.length > LARGEST_BODY and "json" in request.content_type:
                return json_answer({"error": {"message": "request entity too large"}}, 413)
            return await self._answer(request, body)
        finally:
            self.requests.end()

    async def _answer(self, request: web.Request, body: bytes) -> Answer:
        path = request.raw_path.partition("?")[0]
        if not path.startswith(f"{self.options.mount}/"):
            # A gateway serves these at its root, whatever is mounted where.
            if not path.startswith(("/__blocklet__.js", "/.well-known/", "/media/")):
                return html("Not Found", 404)
        else:
            path = path.removeprefix(self.options.mount)
        if request.method == "OPTIONS":
            return preflight(request)
        return await self._routes.answer(Call(request, path, body))

    def _show(self, request: web.Request) -> Answer:
        if request.method == "DELETE":
            self.requests.clear()
        return json_answer([recorded.as_json() for recorded in self.requests])


async def _read(request: web.Request, recorded: Recorded) -> bytes:
    record = BodyRecord(recorded)
    complete = False
    try:
        async for piece in request.content.iter_any():
            record.feed(piece)
        complete = True
    finally:
        record.finish(complete=complete)
    return recorded.body


async def _serve(options: Options, host: str, port: int, unix: Path | None) -> None:
    hub = DemoHub(options)
    url = await hub.start(host, port, unix=unix)
    print(f"demo hub listening on {url}", flush=True)
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()
    await hub.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or Ctrl-C."""
    given = parser().parse_args(arguments)
    asyncio.run(_serve(options_of(given), given.host, given.port, given.unix))
    return 0


def options_of(given: argparse.Namespace) -> Options:
    """How the hub of a command line behaves. Without --record nobody asks what was received, and large bodies would fill the memory."""
    remembered = KEPT_REQUESTS if given.record else 0
    return Options(given.protocol, given.access_key, given.delay, given.mount.rstrip("/"), given.record, remembered)


def parser() -> argparse.ArgumentParser:
    """What the command line may say."""
    faults = "\n".join(f"  {name:<18}{text}" for name, text in FAULTS.items())
    found = argparse.ArgumentParser(
        prog="python -m sidecar.demo.hub",
        description="A hub that answers like a real one. Models that do something special:\n" + faults,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    found.add_argument("--port", type=int, default=3000, help="port, 0 for any free one (default %(default)s)")
    found.add_argument("--unix", type=Path, help="listen on this socket instead")
    found.add_argument("--protocol", choices=("aigne", "openai"), default="aigne", help="which hub to be (default %(default)s)")
    found.add_argument("--mount", default="", help="path prefix, as behind a gateway: /ai-kit")
    found.add_argument("--delay", type=float, default=0.03, help="seconds between two words of a stream (default %(default)s)")
    found.add_argument("--access-key", default=ACCESS_KEY, help="the key that it takes")
    found.add_argument("--record", action="store_true", help=f"tell at {RECORD_PATH} what was received; for tests")
    return found


if __name__ == "__main__":
    raise SystemExit(main())
