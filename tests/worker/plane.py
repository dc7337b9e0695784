"""A data plane in the test's own loop: real sockets, a hub made of raw sockets, keys in a dict."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec

from sidecar.events.record import Event, Request
from sidecar.events.wire import decode
from sidecar.hubs.load import load_profile
from sidecar.keys.cache import MISS, Answer
from sidecar.keys.reader import Found
from sidecar.keys.record import Key, Secret
from sidecar.keys.token import generate
from sidecar.limits.decision import Admission
from sidecar.settings.declaration import Settings
from sidecar.settings.load import load
from sidecar.store.errors import StoreUnavailable
from sidecar.worker.plane import DataPlane
from tests.support.waiting import until as until

CREATED = 1_700_000_000.0


class Keys:
    """Keys in a dict; `away` makes the store unreachable for what is not cached."""

    def __init__(self) -> None:
        self.found: dict[bytes, Found] = {}
        self.cold: set[bytes] = set()
        self.away = False

    def issue(self, **fields: object) -> str:
        token = generate("ahk")
        number = len(self.found)
        secret = Secret(f"sec_{number:016}", "digest", "pepper", "ahk_…", CREATED)
        key = Key(f"key_{number:016}", f"key {number}", CREATED, secrets=(secret,))
        self.found[token.encode()] = Found(msgspec.structs.replace(key, **fields), secret)
        return token

    def change(self, token: str, **fields: object) -> Key:
        found = self.found[token.encode()]
        key = msgspec.structs.replace(found.key, **fields)
        self.found[token.encode()] = Found(key, found.secret)
        return key

    def cached(self, token: bytes) -> Answer:
        return MISS if token in self.cold or token not in self.found else self.found[token]

    async def resolve(self, token: bytes) -> Found | None:
        if self.away:
            raise StoreUnavailable("away")
        return self.found.get(token)

    async def current(self, key_id: str) -> Key | None:
        if self.away:
            raise StoreUnavailable("away")
        return next((found.key for found in self.found.values() if found.key.id == key_id), None)


class Unlimited:
    """Admits everything."""

    def __init__(self) -> None:
        self.released = 0

    async def admit(self, key: Key, request_id: str, tokens: int) -> Admission:
        return Admission(key_id=key.id)

    def withdraw(self, admission: Admission) -> None:
        pass

    def release(self, admission: Admission, tokens: int | None, metered: int) -> None:
        self.released += 1


class Events:
    """A spool in memory; while it is `full` it keeps nothing."""

    def __init__(self) -> None:
        self.all: list[Event] = []
        self.full = False

    def append(self, record: bytes) -> bool:
        if not self.full:
            self.all.append(decode(record))
        return not self.full

    @property
    def requests(self) -> list[Request]:
        return [event for event in self.all if isinstance(event, Request)]


Respond = Callable[["HubSide"], Awaitable[None]]


class HubSide:
    """One connection as the raw hub sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = b""
        self.body = b""
        self.complete = False

    def fields(self) -> list[tuple[str, str]]:
        lines = self.head.decode("latin-1").split("\r\n")[1:-2]
        return [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]

    def field(self, name: str) -> str | None:
        return dict(self.fields()).get(name)

    @property
    def request_line(self) -> str:
        return self.head.partition(b"\r\n")[0].decode("latin-1")

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


class RawHub:
    """Records every request byte for byte; `answer` decides what goes back."""

    OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}'

    def __init__(self) -> None:
        self.seen: list[HubSide] = []
        self.received = b""
        self.answer: Respond = self.ok
        self.early = False
        """Answer when the head is there, without waiting for the body."""
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def ok(self, side: HubSide) -> None:
        await side.send(self.OK)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                side = HubSide(reader, writer)
                side.head = await reader.readuntil(b"\r\n\r\n")
                self.received += side.head
                self.seen.append(side)
                if self.early:
                    await self.answer(side)
                await self._body(side)
                side.complete = True
                if not self.early:
                    await self.answer(side)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def _body(self, side: HubSide) -> None:
        length = side.field("content-length")
        if length is not None:
            while len(side.body) < int(length):
                data = await side.reader.read(min(65536, int(length) - len(side.body)))
                if not data:
                    raise asyncio.IncompleteReadError(b"", 1)
                self.received += data
                side.body += data
        elif side.field("transfer-encoding") == "chunked":
            while True:
                size = int(await side.reader.readuntil(b"\r\n"), 16)
                piece = await side.reader.readexactly(size + 2)
                self.received += piece
                side.body += piece[:-2]
                if size == 0:
                    return


class Plane:
    """A running data plane."""

    def __init__(self, hub: RawHub, keys: Keys, events: Events, limiter: Unlimited, plane: DataPlane, port: int, path: str) -> None:
        self.hub = hub
        self.keys = keys
        self.events = events
        self.limiter = limiter
        self.plane = plane
        self.port = port
        self.path = path
        self.key = keys.issue()
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client connection; closed at the end of the test if the test has not done so."""
        if self.path:
            reader, writer = await asyncio.open_unix_connection(self.path)
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        return reader, writer

    async def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        for writer in self._writers:
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def exchange(self, raw: bytes, *, timeout: float = 5.0) -> bytes:
        """Send `raw`, close nothing, read until the sidecar closes."""
        reader, writer = await self.open()
        writer.write(raw)
        try:
            return await asyncio.wait_for(reader.read(-1), timeout)
        finally:
            writer.close()

    def get(self, target: str = "/v1/models", *, fields: str = "", key: str | None = None, close: bool = True) -> bytes:
        end = "Connection: close\r\n" if close else ""
        return f"GET {target} HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer {key or self.key}\r\n{fields}{end}\r\n".encode()

    def post(
        self, body: bytes, target: str = "/v1/chat/completions", *, fields: str = "", key: str | None = None, close: bool = True
    ) -> bytes:
        end = "Connection: close\r\n" if close else ""
        head = f"POST {target} HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer {key or self.key}\r\n{fields}"
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{end}\r\n".encode() + body

    async def event(self, count: int = 1) -> list[Request]:
        """Wait for `count` events of finished requests."""
        await until(lambda: len(self.events.requests) >= count, what=f"{count} events")
        return self.events.requests


async def endless(side: HubSide) -> None:
    """A stream of the hub that has begun, and ends when its reader leaves."""
    await side.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
    await side.reader.read(1)


@contextlib.asynccontextmanager
async def running(
    *,
    profile: str = "generic",
    environment: dict[str, str] | None = None,
    unix: Path | None = None,
    settings: Settings | None = None,
    wall_clock: Callable[[], float] = time.time,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Plane]:
    """A data plane in front of a RawHub; `environment` has SIDECAR_… settings."""
    hub, keys, events, limiter = RawHub(), Keys(), Events(), Unlimited()
    hub_server = await asyncio.start_server(hub.handle, "127.0.0.1", 0)
    hub.port = hub_server.sockets[0].getsockname()[1]
    defaults = {"SIDECAR_HUB__URL": f"http://127.0.0.1:{hub.port}/", "SIDECAR_HUB__ACCESS_KEY": "blocklet-hub-key"}
    if unix is not None:
        defaults["SIDECAR_PROXY__LISTEN"] = f"unix://{unix}"
    settings = settings or load(None, defaults | (environment or {}))
    loop = asyncio.get_running_loop()
    plane = DataPlane(
        settings,
        load_profile(profile),
        keys,
        limiter,
        events,
        loop,
        instance="test",
        accepted=lambda found, token: None,
        wall_clock=wall_clock,
        clock=clock,
    )
    plane.ticker.start()
    if unix is not None:
        server: asyncio.AbstractServer = await loop.create_unix_server(plane.connection, str(unix))
        port = 0
    else:
        server = await loop.create_server(plane.connection, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
    running_plane = Plane(hub, keys, events, limiter, plane, port, str(unix or ""))
    try:
        yield running_plane
    finally:
        server.close()
        await running_plane.close()
        await plane.drain(0.05)
        hub_server.close()
        await hub.close()
