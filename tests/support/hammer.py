"""A client that asks as fast as it is answered, over kept connections, and notes when it asked and what it was told."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

BROKEN = 0
"""The status of an exchange whose connection ended before its answer was whole."""


class Told(NamedTuple):
    """One answer, or the end of its connection instead. Times are Unix seconds."""

    sent: float
    received: float
    status: int
    is_last: bool = False
    """The answer says that its connection ends."""


def status_request(secret: str) -> bytes:
    """A request that the hub answers at once and that uses nothing."""
    return f"GET /api/v2/status HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\n\r\n".encode()


def chat_request(secret: str, model: str = "openai/gpt-5-mini") -> bytes:
    """A short chat with `model`."""
    body = json.dumps({"input": {"messages": [{"role": "user", "content": "Hi"}], "modelOptions": {"model": model}}}).encode()
    head = f"POST /api/v2/chat HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def hammer(
    urls: Sequence[str],
    request: bytes,
    *,
    connections: int,
    stop: Callable[[list[Told]], bool],
    pause: float = 0.0,
    deadline: float = 120.0,
) -> list[Told]:
    """Send `request` over `connections` to each of `urls`, each again when it was answered and `pause` seconds are over.

    Ends when `stop` says so of what was told up to now; connections that break are noted and made anew.
    """
    told: list[Told] = []
    end = time.monotonic() + deadline

    async def run(host: str, port: int) -> None:
        while not stop(told):
            assert time.monotonic() < end, f"no end within {deadline} s; told: {Counter(one.status for one in told)}"
            try:
                reader, writer = await asyncio.open_connection(host, port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            try:
                while not stop(told) and time.monotonic() < end:
                    told.append(one := await exchange(reader, writer, request))
                    if one.status == BROKEN or one.is_last:
                        break
                    await asyncio.sleep(pause)
            finally:
                writer.transport.abort()

    places = [urlsplit(url) for url in urls for _ in range(connections)]
    await asyncio.gather(*(run(str(place.hostname), place.port or 80) for place in places))
    await asyncio.sleep(0)
    return told


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> Told:
    """One request and its whole answer."""
    sent = time.time()
    try:
        writer.write(request)
        head = await _head_of_whole_answer(reader)
    except (OSError, asyncio.IncompleteReadError):
        return Told(sent, time.time(), BROKEN)
    return Told(sent, time.time(), int(head[9:12]), b"\r\nconnection: close\r\n" in head)


async def _head_of_whole_answer(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"transfer-encoding: chunked" in head:
        await reader.readuntil(b"0\r\n\r\n")
    else:
        length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length or 0))
    return head


def count(told: Sequence[Told], status: int = 200) -> int:
    """How many answers had `status`."""
    return sum(one.status == status for one in told)
