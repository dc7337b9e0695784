"""The hub of the benchmarks: `python -m benchmarks.upstream`. It does as little as a server can, so that the proxies are what is measured.

The query of a request says what comes back: nothing special is a small JSON answer, `answer=large` one of
20 kB, `answer=stream&chunks=100&every=0.01` that many server-sent events at that pace in seconds, each with
the monotonic time at which it was sent. A request body is counted and thrown away.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import re
import signal
import time
from typing import cast
from urllib.parse import parse_qsl

import uvloop

BACKLOG = 4096
LARGE = 20_000
EVENT_PADDING = "x" * 48

_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: *(\d+)")
_CHUNKED = re.compile(rb"\r\n[Tt]ransfer-[Ee]ncoding: *chunked")
_USAGE = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21, "inputTokens": 9, "outputTokens": 12}
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"


def json_answer(content: str) -> bytes:
    """A whole answer of a hub, head and body, whose model said `content`."""
    said = {"role": "assistant", "content": content}
    choices = [{"index": 0, "message": said, "finish_reason": "stop"}]
    document = {"id": "c1", "object": "chat.completion", "model": "openai/gpt-5-mini", "choices": choices, "usage": _USAGE}
    body = json.dumps(document, separators=(",", ":")).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def event(number: int, sent: float, *, last: bool) -> bytes:
    """One server-sent event as an HTTP chunk; the last one tells the usage."""
    delta = {"content": f"{number} {EVENT_PADDING}"}
    choices = [{"index": 0, "delta": delta, "finish_reason": "stop" if last else None}]
    document: dict[str, object] = {"id": "c1", "object": "chat.completion.chunk", "choices": choices, "sent": sent}
    if last:
        document["usage"] = _USAGE
    data = f"data: {json.dumps(document, separators=(',', ':'))}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


SMALL_ANSWER = json_answer("Hello! How can I help you today?")
LARGE_ANSWER = json_answer("x" * LARGE)


class HubSide(asyncio.Protocol):
    """One connection: requests one after the other, bodies skipped."""

    def __init__(self, loop_: asyncio.AbstractEventLoop) -> None:
        self._loop = loop_
        self._transport = cast(asyncio.Transport, None)
        self._buffer = b""
        self._to_skip = 0
        self._chunked = False
        self._line = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._to_skip:
            skipped = min(self._to_skip, len(data))
            self._to_skip -= skipped
            if self._to_skip:
                return
            data = data[skipped:]
            self._answer()
        self._buffer = self._buffer + data if self._buffer else data
        while self._buffer and self._request():
            pass

    def _request(self) -> bool:
        """Take one request, or what is here of it, from the buffer; whether something may follow."""
        buffer = self._buffer
        if self._chunked:
            return self._skip_chunked()
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head, rest = buffer[:end], buffer[end + 4 :]
        self._line = head[: head.find(b"\r\n")]
        length = _LENGTH.search(head)
        if length is not None:
            size = int(length[1])
            if size > len(rest):
                self._to_skip, self._buffer = size - len(rest), b""
                return False
            rest = rest[size:]
        self._buffer = rest
        if length is None and _CHUNKED.search(head):
            self._chunked = True
            return True
        self._answer()
        return True

    def _skip_chunked(self) -> bool:
        # No peer sends trailers, and no body of the benchmarks has these bytes within.
        if not self._buffer.endswith(b"0\r\n\r\n"):
            self._buffer = self._buffer[-5:]
            return False
        self._buffer, self._chunked = b"", False
        self._answer()
        return False

    def _answer(self) -> None:
        line = self._line
        if b"answer=" not in line:
            self._transport.write(SMALL_ANSWER)
        elif b"answer=large" in line:
            self._transport.write(LARGE_ANSWER)
        else:
            asked = dict(parse_qsl(line.split()[1].partition(b"?")[2].decode()))
            self._transport.write(STREAM_HEAD)
            self._next_event(0, int(asked["chunks"]), float(asked["every"]), self._loop.time())

    def _next_event(self, number: int, count: int, every: float, due: float) -> None:
        self._transport.write(event(number, time.monotonic(), last=number + 1 == count))
        if number + 1 == count:
            self._transport.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
            return
        due += every
        self._timer = self._loop.call_at(due, functools.partial(self._next_event, number + 1, count, every, due))


async def _serve(port: int) -> None:
    running = asyncio.get_running_loop()
    server = await running.create_server(lambda: HubSide(running), "127.0.0.1", port, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        running.add_signal_handler(number, ended.set)
    await ended.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upstream", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 for any free one, which is then printed")
    uvloop.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
