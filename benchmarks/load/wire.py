"""A request as bytes, and the end of its answer, for load that times every single exchange."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from benchmarks.load.request import Request

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def raw_request(request: Request, key: str, host: str) -> bytes:
    """The bytes of `request`."""
    fields = {"Host": host, **request.headers(key)} | ({"Content-Length": str(len(request.body))} if request.body else {})
    head = f"{request.method} {request.target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{head}\r\n".encode() + request.body


def host_and_port(url: str) -> tuple[str, int]:
    """Where a proxy's URL leads."""
    parts = urlsplit(url)
    return parts.hostname or "127.0.0.1", parts.port or 80


def is_whole(answer: bytes) -> bool:
    """Whether the bytes of an answer are all there: a counted body, or a chunked one without trailers."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    length = _LENGTH.search(head)
    return len(body) >= int(length[1]) if length is not None else body.endswith(b"0\r\n\r\n")
