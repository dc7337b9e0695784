"""Clients of every kind, good, broken and hostile, each in a loop of its own; what a client must never see is noted."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from benchmarks.soak.keys import Keys, SoakKey

FORBIDDEN = frozenset({400, 401, 403, 404, 405, 408, 411, 413, 414, 426, 429, 431, 500, 501, 505, 508})
"""What a good request with a live key is never told, whatever fails."""
PATIENCE = 40.0
"""Seconds after which a client counts as forgotten: every deadline of the sidecar is shorter."""


class Traffic:
    """The clients of one sidecar."""

    def __init__(self, url: str, keys: Keys, chance: random.Random) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._address = (host, int(port))
        self._keys = keys
        self._chance = chance
        self.done: Counter[str] = Counter()
        """Exchanges by kind and status; 0 for those that ended without one."""
        self.faults: list[str] = []
        self._kinds: dict[Callable[[], Awaitable[None]], int] = {
            self._small: 40,
            self._kept: 20,
            self._upload: 8,
            self._stream: 8,
            self._leave_stream: 6,
            self._leave_upload: 6,
            self._hub_fault: 6,
            self._stranger: 8,
            self._nonsense: 6,
            self._drip: 1,
            self._deaf: 1,
        }

    async def client(self, stop: asyncio.Event) -> None:
        """Be one client after the other."""
        kinds, weights = list(self._kinds), list(self._kinds.values())
        while not stop.is_set():
            (kind,) = self._chance.choices(kinds, weights)
            try:
                async with asyncio.timeout(PATIENCE):
                    await kind()
            except TimeoutError:
                self.faults.append(f"a client of kind {_named(kind)} was forgotten for {PATIENCE:g} s")
            except (OSError, asyncio.IncompleteReadError):
                self.done[f"{_named(kind)} broken off"] += 1
                await asyncio.sleep(0.05)
            await asyncio.sleep(self._chance.expovariate(10))

    # Good requests

    async def _small(self) -> None:
        await self._whole("small", self._request("delay-3", b'{"model":"m"}'))

    async def _kept(self) -> None:
        async with self._open() as (reader, writer):
            for _ in range(self._chance.randrange(2, 12)):
                key = self._keys.pick()
                writer.write(self._head(key, "delay-1", "", "GET"))
                if not await self._judge("kept", key, reader, time.monotonic()):
                    return

    async def _upload(self) -> None:
        body = bytes(self._chance.randrange(1, 2_000_000))
        if self._chance.random() < 0.5:
            key = self._keys.pick()
            pieces = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:70_000], body[70_000:]) if piece)
            await self._whole("upload", (key, self._head(key, "ok", "Transfer-Encoding: chunked\r\n") + pieces + b"0\r\n\r\n"))
        else:
            await self._whole("upload", self._request("ok", body))

    async def _stream(self) -> None:
        await self._whole("stream", self._request("stream-20", b"{}"))

    async def _whole(self, kind: str, request: tuple[SoakKey, bytes]) -> None:
        async with self._open() as (reader, writer):
            begin = time.monotonic()
            writer.write(request[1])
            await self._judge(kind, request[0], reader, begin)

    async def _judge(self, kind: str, key: SoakKey, reader: asyncio.StreamReader, begin: float) -> bool:
        """Read one whole answer; whether the connection may be used again."""
        status, keeps = await _answer(reader)
        self.done[f"{kind} {status}"] += 1
        if status == 200:
            key.completed += 1
            if key.dead_from is not None and begin > key.dead_from:
                self.faults.append(f"{key.id} was served {begin - key.dead_from:.1f} s after it had to be dead")
        elif status in FORBIDDEN and not key.dying:
            self.faults.append(f"{kind} with a live key was told {status}")
        return keeps

    # Those that leave, stall and lie

    async def _leave_stream(self) -> None:
        async with self._open() as (reader, writer):
            writer.write(self._head(self._keys.pick(), "endless-10", "", "GET"))
            await reader.read(self._chance.randrange(1, 400))
            self._leave(writer)

    async def _leave_upload(self) -> None:
        async with self._open() as (_, writer):
            framing = self._chance.choice(["Content-Length: 500000\r\n", "Transfer-Encoding: chunked\r\n"])
            writer.write(self._head(self._keys.pick(), "ok", framing) + b"ff00\r\n" + bytes(self._chance.randrange(30_000)))
            await asyncio.sleep(self._chance.uniform(0, 0.1))
            self._leave(writer)

    async def _hub_fault(self) -> None:
        fault = self._chance.choice(["silent", "reset", "garbage", "cut", "shut", "pause", "deaf"])
        async with self._open() as (reader, writer):
            writer.write(self._head(self._keys.pick(), fault, "Content-Length: 2\r\n") + b"{}")
            head = await reader.readuntil(b"\r\n\r\n")
            self.done[f"hub fault {head[9:12].decode()}"] += 1
            data = await reader.read(-1)
            if head[9:12] == b"200" and data.endswith(b"0\r\n\r\n"):
                self.faults.append(f"a broken answer ({fault}) looked complete")

    async def _stranger(self) -> None:
        async with self._open() as (reader, writer):
            fields = self._chance.choice(["", "Authorization: Bearer ahk_nobody\r\n", "Authorization: Basic eDp5\r\n"])
            writer.write(f"POST /v1/ok HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: 100000\r\n\r\n".encode() + bytes(20_000))
            status, _ = await _answer(reader)
            self.done[f"stranger {status}"] += 1
            if status == 200:
                self.faults.append("a stranger was served")

    async def _nonsense(self) -> None:
        async with self._open() as (reader, writer):
            raw = bytearray(self._head(self._keys.pick(), "ok", "Transfer-Encoding: chunked\r\n") + b"5\r\nhello\r\n0\r\n\r\n")
            for _ in range(self._chance.randrange(1, 6)):
                raw[self._chance.randrange(len(raw))] = self._chance.randrange(256)
            writer.write(bytes(raw))
            if not (await reader.read(100)).startswith((b"HTTP/1.1 ", b"")):
                self.faults.append("nonsense was answered with nonsense")

    async def _drip(self) -> None:
        async with self._open() as (reader, writer):
            for byte in self._head(self._keys.pick(), "ok", f"X-Field: {'a' * 500}\r\n", "GET"):
                writer.write(bytes([byte]))
                with contextlib.suppress(TimeoutError):
                    self.done[f"drip {(await asyncio.wait_for(reader.read(100), 0.1))[9:12].decode() or 0}"] += 1
                    return

    async def _deaf(self) -> None:
        async with self._open(limit=1024) as (_, writer):
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(self._head(self._keys.pick(), "endless-0", "", "GET"))
            await asyncio.sleep(self._chance.uniform(1, 6))

    # Bytes

    def _request(self, path: str, body: bytes) -> tuple[SoakKey, bytes]:
        key = self._keys.pick()
        return key, self._head(key, path, f"Content-Length: {len(body)}\r\n") + body

    def _head(self, key: SoakKey, path: str, fields: str, method: str = "POST") -> bytes:
        return f"{method} /v1/{path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key.secret}\r\n{fields}\r\n".encode()

    @contextlib.asynccontextmanager
    async def _open(self, limit: int = 1 << 20):  # type: ignore[no-untyped-def]
        reader, writer = await asyncio.open_connection(*self._address, limit=limit)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    def _leave(self, writer: asyncio.StreamWriter) -> None:
        if self._chance.random() < 0.5:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """Read one answer to its end: its status, and whether the connection goes on."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"\r\ntransfer-encoding: chunked" in head:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
        await reader.readexactly(2)
    else:
        await reader.readexactly(int(head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0] or 0))
    return int(head[9:12]), b"\r\nconnection: close" not in head


def _named(kind: Callable[[], Awaitable[None]]) -> str:
    return kind.__name__.strip("_").replace("_", " ")
