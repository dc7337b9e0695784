"""One worker with 10,000 idle connections and 2,000 open streams: it stays small, and others are served as before."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.sidecar import Sidecar, resident_bytes
from tests.support.tools import missing

IDLE = 10_000
STREAMS = 2_000
ROOM = 200 << 20
AT_ONCE = 200
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"data: 1\n\n"


@contextmanager
def descriptors(count: int) -> Iterator[None]:
    """As many file descriptors as the test needs, which its children inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        missing(f"a limit of {count} file descriptors", f"raise `ulimit -Hn`, which is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class StreamHub:
    """Begins a stream for every request and says one word to all of them when it is told to."""

    def __init__(self) -> None:
        self.streams: set[asyncio.StreamWriter] = set()
        self.url = ""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=4096)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if b"/stream" in head:
                    writer.write(STREAM_HEAD)
                    self.streams.add(writer)
                else:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.streams.discard(writer)
            writer.close()

    def say(self) -> None:
        for writer in self.streams:
            writer.write(b"%x\r\n%b\r\n" % (len(EVENT), EVENT))

    async def close(self) -> None:
        self._server.close()
        for writer in list(self.streams):
            writer.transport.abort()
        await asyncio.sleep(0)


class Crowd:
    """Many connections to one place."""

    def __init__(self, url: str, secret: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._address = (host, int(port))
        self._head = f" HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\n\r\n".encode()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self.all: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, path: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection on which `path` was asked for and the head of the answer was read."""
        async with self._gate:
            reader, writer = await asyncio.open_connection(*self._address, limit=4096)
            self.all.append((reader, writer))
            writer.write(b"GET " + path + self._head)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            return reader, writer

    async def close(self) -> None:
        for _, writer in self.all:
            writer.transport.abort()
        await asyncio.sleep(0)


async def test_memory_of_idle_connections_and_open_streams(tmp_path: Path) -> None:
    with descriptors(IDLE + 2 * STREAMS + 1000):
        hub = StreamHub()
        await hub.start()
        settings = {"hub__profile": "generic", "proxy__timeouts__keep_alive": "10m"}
        sidecar = Sidecar(tmp_path, hub.url, "hub-key", **settings)
        try:
            await asyncio.to_thread(sidecar.start)
            _, secret = await asyncio.to_thread(sidecar.create_key)
            (worker,) = sidecar.children("worker")
            crowd = Crowd(sidecar.url, secret)
            await crowd.ask(b"/warm")
            before = resident_bytes(worker)
            idle = await asyncio.gather(*(crowd.ask(b"/idle") for _ in range(IDLE)))
            after_idle = resident_bytes(worker)
            streams = await asyncio.gather(*(crowd.ask(b"/stream") for _ in range(STREAMS)))
            for _ in range(3):
                hub.say()
                for reader, _ in streams:
                    await reader.readuntil(EVENT + b"\r\n")
            after = resident_bytes(worker)
            print(
                f"{before >> 20} MiB at rest, {(after_idle - before) / IDLE:.0f} bytes an idle connection, {(after - after_idle) / STREAMS:.0f} a stream"
            )
            assert after < ROOM, f"{after >> 20} MiB"
            for reader, writer in idle[:: IDLE // 20]:
                writer.write(b"GET /idle" + crowd._head)
                await reader.readexactly(2)
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            await crowd.close()
        finally:
            await asyncio.to_thread(sidecar.stop)
            await hub.close()


def test_the_hint_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDECAR_TEST_REQUIRE", "")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    with pytest.raises(pytest.skip.Exception, match="ulimit"), descriptors(100):
        pass
