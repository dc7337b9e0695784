"""One request to the demo hub and the ways to answer it. The only file that shows aiohttp to the endpoints."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Any, TypeAlias

import msgspec
from aiohttp import web

Answer: TypeAlias = web.StreamResponse

_BARE = web.ResponseKey("bare", bool)
_GZIP_FROM = 1024
_SSE = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


@dataclass(frozen=True)
class Call:
    """A request whose body has been read."""

    request: web.Request
    path: str
    """Without the hub's mount prefix."""
    body: bytes

    @property
    def headers(self) -> Mapping[str, str]:
        """Header fields, names without case."""
        return self.request.headers

    @property
    def query(self) -> Mapping[str, str]:
        """Query parameters."""
        return self.request.query

    @cached_property
    def json(self) -> Any:
        """The body as JSON; None when it is none."""
        try:
            return msgspec.json.decode(self.body) if self.body else None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None

    def member(self, *names: str) -> Any:
        """The member of the body at the end of `names`; None when it is not there."""
        value = self.json
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    @property
    def wants_events(self) -> bool:
        """Whether the client accepts server-sent events."""
        return "text/event-stream" in self.headers.get("Accept", "")


class Stream:
    """An answer in pieces. A client that leaves is noticed but ends nothing: the hub works on and bills."""

    def __init__(self, call: Call, headers: Mapping[str, str] = _SSE) -> None:
        self._request = call.request
        self.answer = web.StreamResponse(headers=headers)
        if not headers:
            self.answer[_BARE] = True
        self.client_gone = False

    async def begin(self) -> None:
        """Send the head at once: clients time the wait for it."""
        await self.answer.prepare(self._request)

    async def send(self, piece: bytes) -> None:
        """Send the next piece."""
        if self.client_gone:
            return
        try:
            await self.answer.write(piece)
        except ConnectionError:
            self.client_gone = True

    async def event(self, data: Any, name: str = "") -> None:
        """Send a server-sent event; `data` is text as it is, or a value as JSON."""
        text = data.encode() if isinstance(data, str) else msgspec.json.encode(data)
        await self.send((f"event: {name}\n".encode() if name else b"") + b"data: " + text + b"\n\n")

    async def end(self) -> Answer:
        """The last piece has been sent."""
        if not self.client_gone:
            try:
                await self.answer.write_eof()
            except ConnectionError:
                self.client_gone = True
        return self.answer

    def break_off(self) -> Answer:
        """End the connection without the end of the answer."""
        if self._request.transport is not None:
            self._request.transport.close()
        self.client_gone = True
        return self.answer


async def complete_head(_: web.Request, answer: Answer) -> None:
    """What the hub's framework does to every answer."""
    if answer.get(_BARE):
        # aiohttp names a type for whatever has none.
        answer.headers.pop("Content-Type", None)
    if answer.status != HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        # The real hub's body parser refuses before its CORS handler has run.
        answer.headers["Access-Control-Allow-Origin"] = "*"


def preflight(request: web.Request) -> Answer:
    """The answer to OPTIONS."""
    requested = request.headers.get("Access-Control-Request-Headers", "*")
    allowed = {"Access-Control-Allow-Methods": "GET,HEAD,PUT,PATCH,POST,DELETE", "Access-Control-Allow-Headers": requested}
    return web.Response(status=204, headers=allowed)


def json_answer(value: Any, status: int = 200) -> Answer:
    """A JSON answer."""
    return web.Response(body=msgspec.json.encode(value), status=status, headers={"Content-Type": "application/json; charset=utf-8"})


def compressed(call: Call, value: Any) -> Answer:
    """A JSON answer as Express' compression sends it: gzip above 1 KB for a client that takes it."""
    body = msgspec.json.encode(value)
    headers = {"Content-Type": "application/json; charset=utf-8", "Vary": "Accept-Encoding"}
    if len(body) > _GZIP_FROM and "gzip" in call.headers.get("Accept-Encoding", ""):
        body = gzip.compress(body)
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=body, headers=headers)


def html(title: str, status: int = 200) -> Answer:
    """A page."""
    return web.Response(text=f"<!DOCTYPE html><title>{title}</title><h1>{title}</h1>\n", status=status, content_type="text/html")


def binary(body: bytes, content_type: str) -> Answer:
    """Anything else."""
    return web.Response(body=body, content_type=content_type)


def nothing() -> Answer:
    """200 without a body and without a type."""
    answer = web.Response()
    answer[_BARE] = True
    return answer
