"""What an endpoint declares, and what its handler is given and gives back.

Routing, validation and the OpenAPI document are all read off `Endpoint`; a handler is bound to it
with the types that it declares, so mypy sees a handler that does not fit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import msgspec
from aiohttp import web

from sidecar.control.admin.authentication import Actor
from sidecar.control.admin.errors import Problem
from sidecar.keys.admin_tokens import Role

Method = Literal["GET", "POST", "PATCH", "DELETE"]
Media = Literal["text/csv", "application/x-ndjson"]

BODY_BOUND = 1 << 20


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No members."""


Q = TypeVar("Q", bound=msgspec.Struct)
B = TypeVar("B", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Answer:
    """A handler's answer: one JSON document, or `stream`, in pieces: a document too, or what `media` names."""

    status: int
    document: msgspec.Struct | dict[str, Any] | None = None
    headers: tuple[tuple[str, str], ...] = ()
    media: Media | None = None
    stream: AsyncIterator[bytes] | None = None
    filename: str = ""


@dataclass(frozen=True, slots=True)
class Call(Generic[Q, B]):
    """One authenticated, validated call."""

    operation: str
    """Name of the endpoint."""
    actor: Actor
    request_id: str
    address: str
    """Where the call comes from; `local` over a unix socket."""
    agent: str
    path: dict[str, str]
    query: Q
    body: B
    raw: bytes
    """The body as it came, for endpoints that take another medium than JSON and to know a repeat by."""
    idempotency_key: str
    if_match: int | None
    media: Media | None
    """What the client asked for instead of JSON, among what the endpoint offers."""


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[Q, B]):
    """One call of the API."""

    method: Method
    path: str
    name: str
    """Operation id, `resource.verb`."""
    summary: str
    role: Role | None
    """The least role that may call; None is public."""
    answers: dict[int, type[msgspec.Struct] | None]
    """Successes by status; None is a JSON object without a schema."""
    query: type[Q]
    body: type[B]
    problems: tuple[Problem, ...] = ()
    """Refusals beyond those that any call may meet."""
    media: tuple[Media, ...] = ()
    """What a success can be given as beside JSON."""
    body_media: Media | None = None
    """What the body is instead of JSON; the handler reads it from `raw`."""
    body_bound: int = BODY_BOUND
    idempotent: bool = False
    """Takes an Idempotency-Key."""
    conditional: bool = False
    """Takes If-Match."""
    description: str = ""

    def bind(self, handler: Callable[[Call[Q, B]], Awaitable[Answer]]) -> Route:
        """This endpoint, served by `handler`."""
        return Route(self, handler)


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint with its handler."""

    endpoint: Endpoint[Any, Any]
    handler: Callable[[Call[Any, Any]], Awaitable[Answer]] = field(repr=False)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
