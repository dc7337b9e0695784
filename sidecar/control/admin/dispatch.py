"""The way of every call: host → request id → actor → role → query → body → handler → answer.

Whatever is wrong ends the call with an `AdminError`; `as_json` turns it, and everything that can
fail below, into the one form of refusals.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from sidecar.control.admin import errors
from sidecar.control.admin.authentication import NOBODY, Actor, Authenticator, host_is_allowed
from sidecar.control.admin.decoding import decode_body, decode_query
from sidecar.control.admin.endpoint import Answer, Call, Endpoint, Handler, Media, Nothing, Route
from sidecar.control.admin.errors import AdminError
from sidecar.control.admin.origin import address, agent, request_id, shown_path
from sidecar.control.admin.rendering import error_response, negotiate, respond
from sidecar.keys.admin_tokens import Role
from sidecar.store.errors import StoreNotAdopted, StoreUnavailable

_IDEMPOTENCY_KEY_FORM = re.compile(r"[!-~]{1,255}")
_REVISION_FORM = re.compile(r'(?:W/)?"(-?[0-9]{1,18})"|(-?[0-9]{1,18})')
"""A number that no key can have is well-formed, and a conflict. A proxy that compresses makes an ETag weak."""
_BODY_TIMEOUT = 30.0

ReportForbidden = Callable[[Actor, str, web.Request], Awaitable[None]]
"""Told who tried which operation without the role for it."""

_log = logging.getLogger(__name__)


@web.middleware
async def as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns everything that ends a request early into the form of refusals."""
    try:
        return await handler(request)
    except AdminError as error:
        return error_response(error, request_id(request))
    except StoreNotAdopted:
        return error_response(AdminError(errors.STORE_NOT_ADOPTED), request_id(request))
    except StoreUnavailable as error:
        _log.warning("%s %s: %s", request.method, shown_path(request), error)
        return error_response(AdminError(errors.KEY_STORE_UNAVAILABLE), request_id(request))
    except web.HTTPException as error:
        return _from_aiohttp(error, request)
    except Exception:
        # The outermost frame: whatever it is, the client gets the one form and the log gets the reason.
        _log.exception("%s %s failed", request.method, shown_path(request))
        return error_response(AdminError(errors.INTERNAL_ERROR), request_id(request))


def _from_aiohttp(error: web.HTTPException, request: web.Request) -> web.StreamResponse:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allow = ", ".join(sorted(error.allowed_methods))
        return error_response(AdminError(errors.METHOD_NOT_ALLOWED), request_id(request), (("Allow", allow),))
    if isinstance(error, web.HTTPNotFound):
        return error_response(AdminError(errors.NOT_FOUND), request_id(request))
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return error_response(AdminError(errors.REQUEST_TOO_LARGE), request_id(request))
    if error.status >= 400:
        return error_response(AdminError(errors.INVALID_REQUEST), request_id(request))
    raise error


class Dispatcher:
    """Makes aiohttp handlers out of routes."""

    def __init__(self, authenticator: Authenticator, allowed_hosts: frozenset[str] | None, report_forbidden: ReportForbidden) -> None:
        self._authenticator = authenticator
        self._allowed_hosts = allowed_hosts
        self._report_forbidden = report_forbidden
        self._acts: set[asyncio.Task[Answer]] = set()

    def handler(self, route: Route) -> Handler:
        """An aiohttp handler for `route`."""

        async def handle(request: web.Request) -> web.StreamResponse:
            self.check_host(request)
            call = await self._call(route.endpoint, request)
            answer = route.handler(call) if route.endpoint.method == "GET" else self._act(route, call)
            return await respond(request, await answer, call.request_id)

        return handle

    async def invoke(
        self,
        route: Route,
        request: web.Request,
        actor: Actor,
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        idempotency_key: str = "",
        if_match: int | None = None,
        media: Media | None = None,
        sent: Mapping[str, str] | None = None,
    ) -> Answer:
        """The same call, made by `actor` through a page of the console; raises what a handler raises, and AdminError 403.

        `sent` is what the person sent, where the body made of it is another one a second later: a repeat is known by it.
        """
        endpoint = route.endpoint
        await self.check_role(endpoint.role, endpoint.name, actor, request)
        raw = msgspec.json.encode(body or {}, order="sorted")
        call = Call(
            operation=endpoint.name,
            actor=actor,
            request_id=request_id(request),
            address=address(request),
            agent=agent(request),
            path=dict(path or {}),
            query=decode_query((query or {}).items(), endpoint.query),
            body=Nothing() if endpoint.body is Nothing else decode_body(raw, endpoint.body),
            raw=raw if sent is None else msgspec.json.encode(sent, order="sorted"),
            idempotency_key=idempotency_key,
            if_match=if_match,
            media=media,
        )
        return await (route.handler(call) if endpoint.method == "GET" else self._act(route, call))

    async def finish(self, timeout: float = 5.0) -> None:
        """Wait for acts whose clients have gone."""
        if self._acts:
            await asyncio.wait(self._acts, timeout=timeout)

    async def _act(self, route: Route, call: Call[Any, Any]) -> Answer:
        # A client that leaves must not stop an act half way, between the change and its record.
        task = asyncio.ensure_future(route.handler(call))
        self._acts.add(task)
        task.add_done_callback(self._acts.discard)
        return await asyncio.shield(task)

    def check_host(self, request: web.Request) -> None:
        """Refuse a Host that is not served here (DNS rebinding)."""
        if self._allowed_hosts is not None and not host_is_allowed(request.headers.get("Host", ""), self._allowed_hosts):
            raise AdminError(errors.MISDIRECTED)

    async def _call(self, endpoint: Endpoint[Any, Any], request: web.Request) -> Call[Any, Any]:
        actor = await self._actor(endpoint, request)
        content_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        query = decode_query(request.query.items(), endpoint.query)
        raw = await _body(request, endpoint, actor, content_type)
        return Call(
            operation=endpoint.name,
            actor=actor,
            request_id=request_id(request),
            address=address(request),
            agent=agent(request),
            path=dict(request.match_info),
            query=query,
            body=Nothing() if endpoint.body is Nothing else decode_body(raw, endpoint.body),
            raw=raw,
            idempotency_key=_idempotency_key(request) if endpoint.idempotent else "",
            if_match=_if_match(request) if endpoint.conditional else None,
            media=negotiate(request.headers.getall("Accept", []), endpoint.media),
        )

    async def _actor(self, endpoint: Endpoint[Any, Any], request: web.Request) -> Actor:
        if endpoint.role is None:
            return NOBODY
        actor = await self._authenticator.actor(request, address(request))
        await self.check_role(endpoint.role, endpoint.name, actor, request)
        return actor

    async def check_role(self, role: Role | None, operation: str, actor: Actor, request: web.Request) -> None:
        """Refuse, and record, what the role of `actor` does not include; AdminError 403."""
        if role is not None and not actor.may(role):
            await self._report_forbidden(actor, operation, request)
            raise AdminError(errors.FORBIDDEN, f"This needs the role {role}; yours is {actor.role}.")


async def _body(request: web.Request, endpoint: Endpoint[Any, Any], actor: Actor, content_type: str) -> bytes:
    if endpoint.method in ("GET", "DELETE"):
        return b""
    # A page of another site can send text and forms with the console's cookie, but never JSON.
    # A token is not sent by a browser by itself, so there the media type does not matter for safety.
    if actor.type == "session" and content_type != (endpoint.body_media or "application/json"):
        raise AdminError(errors.UNSUPPORTED_MEDIA_TYPE)
    if request.content_length is not None and request.content_length > endpoint.body_bound:
        raise AdminError(errors.REQUEST_TOO_LARGE)
    data = bytearray()
    try:
        async with asyncio.timeout(_BODY_TIMEOUT):
            async for chunk in request.content.iter_any():
                data += chunk
                if len(data) > endpoint.body_bound:
                    raise AdminError(errors.REQUEST_TOO_LARGE)
    except TimeoutError:
        raise AdminError(errors.INVALID_REQUEST, "The body did not arrive in time.") from None
    except web.RequestPayloadError:
        raise AdminError(errors.INVALID_REQUEST, "The body is not in the Content-Encoding that it came with.") from None
    return bytes(data)


def _idempotency_key(request: web.Request) -> str:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return ""
    if not _IDEMPOTENCY_KEY_FORM.fullmatch(key):
        raise AdminError(errors.INVALID_REQUEST, "Idempotency-Key: must be 1 to 255 visible ASCII characters.", param="Idempotency-Key")
    return key


def _if_match(request: web.Request) -> int | None:
    given = request.headers.get("If-Match")
    if given is None or given == "*":
        return None
    match = _REVISION_FORM.fullmatch(given)
    if match is None:
        raise AdminError(errors.INVALID_REQUEST, "If-Match: must be the key's revision, such as 3.", param="If-Match")
    return int(match[1] or match[2])
