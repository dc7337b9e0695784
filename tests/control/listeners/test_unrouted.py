"""What is answered to what is no request: the form, the status and the version of every other refusal."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from aiohttp import web

from sidecar.control.listeners.serving import serve
from sidecar.settings.values import Listen
from tests.control.listeners.test_serving import SECRET

HOST = b"Host: localhost\r\n"
BROKEN = {
    "no request line": (b"nonsense\r\n\r\n", 400, "invalid_request"),
    "another version": (b"GET / HTTP/one\r\n" + HOST + b"\r\n", 400, "invalid_request"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01", 400, "invalid_request"),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400, "invalid_request"),
    "length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: x\r\n\r\n", 400, "invalid_request"),
    "chunk": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "invalid_request"),
    "no header line": (b"GET / HTTP/1.1\r\n" + HOST + SECRET.encode() + b"\r\n\r\n", 400, "invalid_request"),
    "unknown method": (b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", 405, "method_not_allowed"),
    "small letters": (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", 405, "method_not_allowed"),
    "RTSP": (b"DESCRIBE / HTTP/1.1\r\n" + HOST + b"\r\n", 405, "method_not_allowed"),
    "target": (b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414, "target_too_long"),
    "header value": (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 8192 + b"\r\n\r\n", 431, "headers_too_large"),
    "header name": (b"GET / HTTP/1.1\r\n" + HOST + b"X" * 8192 + b": a\r\n\r\n", 431, "headers_too_large"),
    "header lines": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 200 + b"\r\n", 431, "headers_too_large"),
    "expectation": (b"GET / HTTP/1.1\r\n" + HOST + b"Expect: " + SECRET.encode() + b"\r\n\r\n", 417, "invalid_request"),
}


@pytest.mark.parametrize(("sent", "status", "code"), BROKEN.values(), ids=BROKEN)
async def test_what_is_no_request_is_refused_like_any_other(sent: bytes, status: int, code: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/", answer)
    runner = await serve(app, Listen.parse("127.0.0.1:0"))
    reader, writer = await asyncio.open_connection(*runner.addresses[0])
    writer.write(sent)
    head, _, body = (await asyncio.wait_for(reader.read(), 10)).decode().partition("\r\n\r\n")
    writer.close()
    await runner.cleanup()
    assert head.startswith(f"HTTP/1.1 {status} ") and SECRET not in head + body
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:])}
    assert re.fullmatch("req_[0-9a-f]{24}", fields["x-request-id"])
    assert fields["cache-control"] == "no-store" and fields["content-type"] == "application/json; charset=utf-8"
    assert fields.get("allow") == ("GET, HEAD" if status == 405 else None)
    error = json.loads(body)["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, None)


async def test_an_id_that_could_be_read_is_kept() -> None:
    runner = await serve(web.Application(), Listen.parse("127.0.0.1:0"))
    reader, writer = await asyncio.open_connection(*runner.addresses[0])
    writer.write(b"GET / HTTP/1.1\r\n" + HOST + b"Expect: more\r\nX-Request-Id: mine\r\n\r\n")
    assert b"X-Request-Id: mine\r\n" in await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await runner.cleanup()
