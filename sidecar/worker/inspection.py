"""Authorize, second part: which model a request asks for, and whether its key may use it.

It is judged, and where the profile says so rewritten, on the very bytes that are forwarded. A body is read whole only when
it must be: for a key with a model list, or where the profile cuts a prefix off model names in JSON. All other bodies stream.
"""

from __future__ import annotations

import re

from sidecar.hubs.model import find_models, may_hold, peek_model, peek_target, replace_prefix, strip_prefix
from sidecar.hubs.profile import Profile, Route
from sidecar.hubs.protected import HeaderPolicy
from sidecar.keys.record import Key
from sidecar.limits.reservation import estimate
from sidecar.refusals import REQUEST_TOO_LARGE, TOO_LARGE_TO_CHECK, Refusal, Refused
from sidecar.settings.declaration import Bounds
from sidecar.worker.authorize import check_models
from sidecar.worker.client.exchange import Exchange

_LARGEST_PEEK = 4 << 20
"""Bytes of a body, already here whole, that are searched to the end for its model, which takes some milliseconds."""
_BEGINNING = 64 << 10
"""Bytes at the beginning of a longer one that are searched for the model, and at either end of any for `max_tokens`."""
_MAX_TOKENS = re.compile(rb'"max(?:_completion|_output)?_?[tT]okens"\s*:\s*(\d{1,9})')


class Inspected:
    """What was found: `body` is what to forward, None when it streams; `refused` is why the key may not use the model, if so."""

    __slots__ = ("body", "model", "refused")

    def __init__(self, model: str, body: bytes | None, refused: Refused | None) -> None:
        self.model = model
        self.body = body
        self.refused = refused


_NOTHING = Inspected("", b"", None)


class BodyInspector:
    """Looks into bodies for one profile."""

    def __init__(self, profile: Profile, bounds: Bounds) -> None:
        self._prefix = profile.model_prefix
        self._longest = bounds.inspected_body
        self._in_path = frozenset(route.model for route in profile.routes if any(place.startswith("path:") for place in route.model))
        self._types_pass = HeaderPolicy(profile.headers).passes(b"content-type")
        """Whether the hub learns of a body's type: without one it reads the body as it likes, and most read JSON."""

    def must_read(self, exchange: Exchange, route: Route, key: Key | None) -> bool:
        """Whether the body of `exchange`, which is not all here yet, must be before any of it goes on."""
        if not route.model:
            return False
        return _has_list(key) or (bool(self._prefix) and not _is_multipart(exchange))

    async def read(self, exchange: Exchange, route: Route, key_id: str) -> bytes:
        """The whole body, to be inspected. Raises Refused and ClientGone; after Refused(TOO_LARGE_TO_CHECK) it can still stream."""
        return await exchange.body.read_all(self._longest, self._too_large(exchange, route), key_id=key_id)

    def inspect(self, exchange: Exchange, route: Route, key: Key | None, body: bytes | None) -> Inspected:
        """Find the model that `exchange` asks for; `body` is the whole body or None. Raises Refused when it cannot be read."""
        if not route.model:
            # A route that says nothing of its model cannot be checked against a list.
            return Inspected("", body, _verdict(key, ()) if route.usage != "none" and _has_list(key) else None)
        if body is None:
            # What was not seen is on nobody's list.
            return Inspected("", None, _verdict(key, ()))
        if len(body) > self._longest and self.must_read(exchange, route, key):
            # It came at once, which says nothing of whether it may.
            raise Refused(self._too_large(exchange, route))
        if key is None or key.allowed_models is None:
            return self._peek(exchange, route, body)
        head = exchange.head
        encoding = b",".join(head.all(b"content-encoding")).decode("latin-1")
        query = (head.target.query or b"").decode()
        content_type = _content_type(exchange) if self._types_pass else ""
        finding = find_models(route.model, head.target.path.decode(), query, content_type, body, encoding)
        if self._prefix:
            body = replace_prefix(body, finding, self._prefix)
        models = finding.dispatched(self._prefix)
        refused = _verdict(key, models, finding.lacks, self._prefix) if models or not route.model_optional else None
        return Inspected(finding.own.removeprefix(self._prefix), body, refused)

    def estimate(self, exchange: Exchange, route: Route, size: int, body: bytes | None) -> int:
        """Tokens to reserve for a request of `size` bytes; next to none where the hub tells of no use."""
        if route.usage == "none":
            return 1
        if _is_multipart(exchange) and _takes_forms(route):
            # Nearly all of it is files: of sound and pictures there are many bytes to a token, and hubs may never tell how many.
            # Elsewhere it is a label, which some hubs do not look at: under it a long prompt would be taken for next to nothing.
            return estimate(0, None)
        found: list[bytes] = []
        if body:
            # Clients write it before their messages or behind them. The largest: of two members the hub may take either.
            found = _MAX_TOKENS.findall(body, 0, _BEGINNING)
            if len(body) > _BEGINNING:
                found += _MAX_TOKENS.findall(body, max(_BEGINNING, len(body) - _BEGINNING))
        return estimate(size, max(map(int, found)) if found else None)

    def _too_large(self, exchange: Exchange, route: Route) -> Refusal:
        # What is read for the sake of a key's list alone goes on where nobody is held to that.
        return REQUEST_TOO_LARGE if self.must_read(exchange, route, None) else TOO_LARGE_TO_CHECK

    def _peek(self, exchange: Exchange, route: Route, body: bytes) -> Inspected:
        if not body and not exchange.head.target.query and route.model not in self._in_path:
            return _NOTHING
        # A form with files is not waited for, so that it is here whole says nothing but how it was sent.
        if self._prefix and may_hold(body, self._prefix) and not _is_multipart(exchange):
            body = strip_prefix(route.model, _content_type(exchange), body, self._prefix)
        seen = body if len(body) <= _LARGEST_PEEK else body[:_BEGINNING]
        return Inspected(peek_model(route.model, seen) or peek_target(route.model, *exchange.head.target), body, None)


def _has_list(key: Key | None) -> bool:
    return key is not None and key.allowed_models is not None


def _content_type(exchange: Exchange) -> str:
    return (exchange.head.first(b"content-type") or b"").decode("latin-1")


def _is_multipart(exchange: Exchange) -> bool:
    return _content_type(exchange).lower().startswith("multipart/")


def _takes_forms(route: Route) -> bool:
    return any("form:" in place for place in route.model)


def _verdict(key: Key | None, models: tuple[str, ...], lacks: str = "", prefix: str = "") -> Refused | None:
    if key is None:
        return None
    try:
        check_models(key, models, lacks, prefix)
    except Refused as refused:
        return refused
    return None
