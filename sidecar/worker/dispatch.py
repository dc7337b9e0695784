"""Authorize, second part: which model is asked for, judged and if need be rewritten on the bytes that go on.

A body is read whole only when it must be: for a key with a model list, or where the profile cuts a
prefix off model names in JSON. All other bodies stream.
"""

from __future__ import annotations

import re

from sidecar.hubs.model import find_models, peek_model, replace_prefix, strip_prefix
from sidecar.hubs.profile import Profile, Route
from sidecar.keys.record import Key
from sidecar.limits.reservation import estimate
from sidecar.refusals import Refused
from sidecar.settings.declaration import Bounds
from sidecar.worker.authorize import check_models
from sidecar.worker.client.exchange import Exchange

_LARGEST_PEEK = 64 << 10
_MAX_TOKENS = re.compile(rb'"max(?:_completion|_output)?_?[tT]okens"\s*:\s*(\d{1,9})')


class Inspected:
    """What the body told: `body` is None when it streams, `refused` is a verdict on its models."""

    __slots__ = ("body", "model", "refused")

    def __init__(self, model: str, body: bytes | None, refused: Refused | None) -> None:
        self.model = model
        self.body = body
        self.refused = refused


class BodyInspector:
    """Looks into bodies for one profile."""

    def __init__(self, profile: Profile, bounds: Bounds) -> None:
        self._prefix = profile.model_prefix
        self._longest = bounds.inspected_body

    async def inspect(self, exchange: Exchange, route: Route, key: Key | None) -> Inspected:
        """Find the model that `exchange` asks for. Raises Refused when the body cannot be read, ClientGone."""
        head = exchange.head
        has_list = key is not None and key.allowed_models is not None
        body = exchange.body.whole()
        if not route.model:
            if not has_list or route.usage == "none":
                return Inspected("", body, None)
            # A route that says nothing of its model cannot be checked against a list.
            return Inspected("", body, _verdict(key, ()))
        content_type = (head.first(b"content-type") or b"").decode("latin-1")
        if body is None and (has_list or (self._prefix and not content_type.lower().startswith("multipart/"))):
            body = await exchange.body.read_all(self._longest)
        if body is None:
            return Inspected("", None, None)
        if not has_list:
            return self._peek(route, content_type, body)
        encoding = (head.first(b"content-encoding") or b"").decode("latin-1")
        query = (head.target.query or b"").decode()
        finding = find_models(route.model, head.target.path.decode(), query, content_type, body, encoding)
        if self._prefix:
            body = replace_prefix(body, finding, self._prefix)
        models = finding.dispatched(self._prefix)
        return Inspected(models[0] if models else "", body, _verdict(key, models))

    def estimate(self, route: Route, size: int, body: bytes | None) -> int:
        """Tokens to reserve for a request of `size` bytes; next to none where the hub tells of no use."""
        if route.usage == "none":
            return 1
        match = _MAX_TOKENS.search(body, 0, _LARGEST_PEEK) if body else None
        return estimate(size, int(match[1]) if match else None)

    def _peek(self, route: Route, content_type: str, body: bytes) -> Inspected:
        if self._prefix:
            body = strip_prefix(route.model, content_type, body, self._prefix)
        return Inspected(peek_model(route.model, body[:_LARGEST_PEEK]) if body else "", body, None)


def _verdict(key: Key | None, models: tuple[str, ...]) -> Refused | None:
    if key is None:
        return None
    try:
        check_models(key, models)
    except Refused as refused:
        return refused
    return None
