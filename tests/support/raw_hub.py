"""A hub that does what the path says: `python -m tests.support.raw_hub FILE` in a process of its own, on raw sockets.

FILE gets one line for each request, `begin PATH` and `end PATH` when all of its body was received.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"7\r\ndata: \n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class RawHub:
    """Behaviours by the last segment of the path; a number behind a dash is milliseconds: `/v1/delay-30`."""

    def __init__(self, record: Path) -> None:
        self._record = record.open("ab", buffering=0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Be the hub for one connection."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ", 2)[1]
                self._note(b"begin", path)
                name, _, number = path.rpartition(b"/")[2].partition(b"?")[0].partition(b"-")
                pause = int(number or 0) / 1000
                if name != b"deaf":
                    await self._body(head, reader)
                    self._note(b"end", path)
                if not await self._answer(name.decode(), pause, reader, writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _note(self, what: bytes, path: bytes) -> None:
        self._record.write(what + b" " + path + b"\n")

    async def _body(self, head: bytes, reader: asyncio.StreamReader) -> None:
        if b"\r\ntransfer-encoding: chunked" in head.lower():
            while size := int(await reader.readuntil(b"\r\n"), 16):
                await reader.readexactly(size + 2)
            await reader.readuntil(b"\r\n")
        elif match := _LENGTH.search(head):
            missing = int(match[1])
            while missing:
                data = await reader.read(min(missing, 1 << 18))
                if not data:
                    raise asyncio.IncompleteReadError(b"", missing)
                missing -= len(data)

    async def _answer(self, name: str, pause: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        if name == "deaf":
            # Not even a byte: closing with some unread would be a reset.
            await asyncio.get_running_loop().create_future()
        if name == "silent":
            await reader.read(1)
            return False
        if name in ("reset", "cut", "shut", "garbage", "pause"):
            writer.write({"garbage": b"\x00\xffSSH-2.0\r\n\r\n", "reset": b""}.get(name, STREAM + EVENT))
            await writer.drain()
            if name == "pause":
                await reader.read(1)
            await asyncio.sleep(0.05)
            if name in ("reset", "cut"):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if name in ("stream", "endless"):
            writer.write(STREAM)
            for _ in range(20 if name == "stream" else 1 << 60):
                writer.write(EVENT)
                await writer.drain()
                await asyncio.sleep(pause)
            writer.write(b"0\r\n\r\n")
            return True
        await asyncio.sleep(pause)
        writer.write(OK)
        return True


async def _main(record: Path) -> None:
    hub = RawHub(record)
    server = await asyncio.start_server(hub.serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@dataclass(frozen=True)
class RawHubProcess:
    """A raw hub in another process."""

    url: str
    record: Path
    process: subprocess.Popen[str]

    def seen(self, what: str = "end") -> list[str]:
        """Paths of requests that began, or that arrived whole."""
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        return [line.partition(" ")[2] for line in lines if line.startswith(f"{what} ")]


@contextmanager
def raw_hub_process(directory: Path) -> Iterator[RawHubProcess]:
    """A raw hub on a free port; it records into `directory`."""
    record = directory / "raw-hub.log"
    command = [sys.executable, "-m", "tests.support.raw_hub", str(record)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            assert port, "the raw hub did not start"
            yield RawHubProcess(f"http://127.0.0.1:{port}/", record, process)
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
