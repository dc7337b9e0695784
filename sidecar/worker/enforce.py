"""Identify and authorize in the mode that is in force: `enforce` refuses, `shadow` remembers, `off` lets through.

What the data plane and the authorizer have in common, so that both judge alike.
"""

from __future__ import annotations

from collections.abc import Callable

from sidecar.hubs.profile import Route
from sidecar.keys.reader import Found
from sidecar.keys.record import Key
from sidecar.refusals import KEY_STORE_UNAVAILABLE, Refused
from sidecar.settings.declaration import Enforcement
from sidecar.store.errors import StoreUnavailable
from sidecar.worker.authorize import check_use
from sidecar.worker.client.exchange import Exchange
from sidecar.worker.client.request_head import RequestHead
from sidecar.worker.identify import Identifier, credential, judge
from sidecar.worker.inspection import BodyInspector
from sidecar.worker.meter import Record


def life_mode(configured: Enforcement, key: Key | None) -> Enforcement:
    """The mode in which it is judged whether `key` is over: revoked, disabled, expired, or rotated away from this secret.

    Its own mode is for trying out what it may do. It never keeps a key alive that somebody has ended.
    """
    own = key.enforcement if key is not None else None
    return "enforce" if "enforce" in (configured, own) else own or configured


class Enforcer:
    """Judges requests; every verdict that a mode lets through is noted in the request's record."""

    def __init__(
        self,
        enforcement: Enforcement,
        identifier: Identifier,
        inspector: BodyInspector,
        *,
        wall_clock: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._enforcement = enforcement
        self._identifier = identifier
        self._inspector = inspector
        self._wall_clock = wall_clock
        self._clock = clock

    def mode(self, found: Found | None) -> Enforcement:
        """The mode for what a request of this key may do: the key's own, else the sidecar's."""
        return (found.key.enforcement if found is not None else None) or self._enforcement

    def tolerate(self, record: Record, refused: Refused, mode: Enforcement) -> None:
        """Raise `refused`, unless the mode lets such requests through; shadow remembers the first reason."""
        if mode == "enforce" or not refused.refusal.shadows:
            raise refused
        if mode == "shadow" and not record.shadow:
            record.shadow = refused.refusal.code

    def recognize(self, head: RequestHead, record: Record) -> Found | bytes | None:
        """The live key that the request carries; None when a mode lets through a request without one.

        Where memory does not suffice, the token to `ask` the store for. Raises Refused.
        """
        begun = self._clock()
        try:
            token = credential(head)
            found = self._identifier.known(token)
        except Refused as refused:
            self._unknown(record, refused)
            return None
        finally:
            record.auth = self._clock() - begun
        if found is None:
            return token
        self._judge(found, record)
        return found

    async def ask(self, token: bytes, record: Record) -> Found | None:
        """As `recognize`, by the store. Raises Refused and StoreUnavailable."""
        begun = self._clock()
        try:
            found = await self._identifier.find(token)
        except Refused as refused:
            self._unknown(record, refused)
            return None
        except StoreUnavailable:
            if self._enforcement == "enforce":
                raise
            if self._enforcement == "shadow":
                record.shadow = KEY_STORE_UNAVAILABLE.code
            return None
        finally:
            record.auth += self._clock() - begun
        if self._judge(found, record):
            self._identifier.accepted(found, token)
        return found

    def _unknown(self, record: Record, refused: Refused) -> None:
        """Nobody's key was sent; raises Refused where that is refused."""
        if self._enforcement == "enforce":
            raise self._identifier.failure(refused, record.client)
        # Where wrong keys are let through, nobody who sends many is to be slowed down for it.
        self.tolerate(record, refused, self._enforcement)

    def _judge(self, found: Found, record: Record) -> bool:
        """Note whose request it is; whether the key is live. Raises Refused when it is not and its mode refuses."""
        record.key_id, record.secret_id, record.secret_state = found.key.id, found.secret.id, found.secret.state
        try:
            judge(found.key, found.secret, self._wall_clock())
        except Refused as refused:
            self.tolerate(record, refused, life_mode(self._enforcement, found.key))
            return False
        return True

    def check_use(self, found: Found, record: Record, route: Route) -> None:
        """Raise Refused when the key may not call `route`."""
        try:
            check_use(found.key, record.method, record.path, route, record.client, self._wall_clock())
        except Refused as refused:
            self.tolerate(record, refused, self.mode(found))

    async def read(self, exchange: Exchange, record: Record, route: Route, found: Found | None) -> bytes | None:
        """The body that is not all here yet, when all of it must be seen; None when it streams. Raises Refused and ClientGone."""
        if not self._inspector.must_read(exchange, route, found.key if found is not None else None):
            return None
        if self.mode(found) == "off" and not self._inspector.must_read(exchange, route, None):
            # A list to which nobody is held is no reason to wait for a body, nor to refuse a long one.
            return None
        try:
            return await self._inspector.read(exchange, route, record.key_id)
        except Refused as refused:
            self.tolerate(record, refused, self.mode(found))
            return None

    def inspect(self, exchange: Exchange, record: Record, route: Route, found: Found | None, body: bytes | None) -> bytes | None:
        """Find and judge the model in the whole `body`; returns the body to forward, None when it streams. Raises Refused."""
        try:
            inspected = self._inspector.inspect(exchange, route, found.key if found is not None else None, body)
        except Refused as refused:
            self.tolerate(record, refused, self.mode(found))
            # It goes on as if the key had no list.
            inspected = self._inspector.inspect(exchange, route, None, body)
        record.model = inspected.model
        if inspected.refused is not None:
            self.tolerate(record, inspected.refused, self.mode(found))
        return inspected.body
