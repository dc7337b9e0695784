"""The line that every request travels: accept → identify → authorize → limit → rewrite → forward → meter.

The order matters. The key is known before anything else is said, so that strangers learn nothing of
routes; the model is judged before the limit, so that refused requests consume nothing; the meter
stands around all of it, so that it sees every ending.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from email.utils import formatdate

from sidecar.hubs.blocklet import blocklet_answer
from sidecar.hubs.profile import Route
from sidecar.hubs.routing import Matched, Router
from sidecar.keys.reader import Found
from sidecar.keys.record import Secret
from sidecar.limits.decision import Admission
from sidecar.refusals import INTERNAL_ERROR, KEY_STORE_UNAVAILABLE, OVERLOADED, Refused
from sidecar.settings.declaration import Enforcement
from sidecar.store.errors import StoreUnavailable
from sidecar.worker.accept import Accept
from sidecar.worker.answer import Answers
from sidecar.worker.authorize import check_use
from sidecar.worker.client.body import ClientGone
from sidecar.worker.client.exchange import Connection, Exchange
from sidecar.worker.dispatch import BodyInspector
from sidecar.worker.forward import Forwarder, Job
from sidecar.worker.identify import Identifier, credential, judge
from sidecar.worker.limit import Limit, header_lines
from sidecar.worker.meter import Meter, Record
from sidecar.worker.open_requests import OpenRequests
from sidecar.worker.rewrite import Caller
from sidecar.worker.upstream.tunnel import Tunneler, check_handshake

log = logging.getLogger(__name__)


class Gateway:
    """Serves exchanges, each along the whole line."""

    def __init__(
        self,
        *,
        enforcement: Enforcement,
        capacity: int,
        accept: Accept,
        identifier: Identifier,
        router: Router,
        inspector: BodyInspector,
        limit: Limit,
        forwarder: Forwarder,
        tunneler: Tunneler,
        meter: Meter,
        answers: Answers,
        open_requests: OpenRequests,
        wall_clock: Callable[[], float],
        loop_clock: Callable[[], float],
    ) -> None:
        self._enforcement = enforcement
        self._capacity = capacity
        self._accept = accept
        self._identifier = identifier
        self._router = router
        self._inspector = inspector
        self._limit = limit
        self._forwarder = forwarder
        self._tunneler = tunneler
        self._meter = meter
        self._answers = answers
        self._open = open_requests
        self._wall_clock = wall_clock
        self._loop_clock = loop_clock

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request. Whatever happens, it is answered or broken off, and counted once."""
        record = self._accept.request(exchange)
        try:
            await self._line(exchange, record)
        except Refused as refused:
            self._refuse(exchange.connection, record, refused, exchange)
        except StoreUnavailable:
            self._refuse(exchange.connection, record, Refused(KEY_STORE_UNAVAILABLE), exchange)
        except ClientGone:
            record.outcome, record.ending = "client_closed", "client_closed"
        except asyncio.CancelledError:
            record.outcome, record.ending = "sidecar_error", "shutdown"
            raise
        except Exception:
            log.exception("request %s failed", record.request_id)
            self._refuse(exchange.connection, record, Refused(INTERNAL_ERROR), exchange)
        finally:
            self._open.remove(record)
            self._meter.finish(record)

    def reject(self, connection: Connection, refused: Refused) -> None:
        """Answer bytes that never became a request."""
        self._refuse(connection, self._accept.nonsense(connection.peer), refused, None)

    async def _line(self, exchange: Exchange, record: Record) -> None:
        head = exchange.head
        if head.method == b"OPTIONS":
            keep_alive = head.keep_alive and exchange.body.complete
            requested = head.first(b"access-control-request-headers")
            self._finish(exchange, record, 204, self._answers.preflight(requested, record.request_id, keep_alive=keep_alive))
            return
        websocket = check_handshake(head)
        matched, no_route = self._match(record)
        # identify
        if matched is not None and matched.route.public:
            found = None
        else:
            found = await self._identify(exchange, record)
        if matched is None:
            raise no_route
        record.route = matched.route.name
        # authorize
        mode = self._mode(found)
        if found is not None:
            try:
                check_use(found.key, record.method, record.path, matched.route, record.client, self._wall_clock())
            except Refused as refused:
                self._tolerate(record, refused, mode)
        if matched.route.answer == "blocklet":
            self._blocklet(exchange, record)
            return
        body = await self._inspect(exchange, record, matched, found, mode)
        # limit
        admission = await self._admit(exchange, record, matched.route, found, body)
        try:
            # rewrite, forward, meter
            extra = header_lines(admission) if admission is not None else b""
            if found is not None and found.secret.state == "retiring":
                extra += _deprecation(found.secret)
            job = self._job(exchange, record, matched, body, extra, limited=admission is not None)
            await (self._tunneler if websocket and matched.route.websocket else self._forwarder).forward(job)
        finally:
            if admission is not None:
                self._limit.release(admission, record)

    # accept

    def _match(self, record: Record) -> tuple[Matched | None, Refused]:
        try:
            return self._router.match(record.method, record.path), Refused(INTERNAL_ERROR)
        except Refused as refused:
            # Told only after the key was seen: without one, every path answers alike.
            return None, refused

    # identify

    async def _identify(self, exchange: Exchange, record: Record) -> Found | None:
        if len(self._open) >= self._capacity:
            raise Refused(OVERLOADED)
        self._accept.refuse_loops(exchange.head)
        begun = self._loop_clock()
        try:
            token = credential(exchange.head)
            found = self._identifier.known(token) or await self._identifier.find(token)
        except Refused as refused:
            self._tolerate(record, self._identifier.failure(refused, record.client), self._enforcement)
            return None
        except StoreUnavailable:
            if self._enforcement == "enforce":
                raise
            record.shadow = KEY_STORE_UNAVAILABLE.code
            return None
        finally:
            record.auth = self._loop_clock() - begun
        secret = found.secret
        record.key_id, record.secret_id, record.secret_state = found.key.id, secret.id, secret.state
        self._open.add(record, exchange)
        try:
            judge(found.key, found.secret, self._wall_clock())
        except Refused as refused:
            self._tolerate(record, refused, self._mode(found))
        return found

    # authorize

    def _mode(self, found: Found | None) -> Enforcement:
        return (found.key.enforcement if found is not None else None) or self._enforcement

    def _tolerate(self, record: Record, refused: Refused, mode: Enforcement) -> None:
        """Raise `refused`, unless the mode lets such requests through; shadow remembers the first reason."""
        if mode == "enforce" or not refused.refusal.shadows:
            raise refused
        if mode == "shadow" and not record.shadow:
            record.shadow = refused.refusal.code

    async def _inspect(self, exchange: Exchange, record: Record, matched: Matched, found: Found | None, mode: Enforcement) -> bytes | None:
        key = found.key if found is not None else None
        try:
            inspected = await self._inspector.inspect(exchange, matched.route, key)
        except Refused as refused:
            self._tolerate(record, refused, mode)
            return exchange.body.whole()
        record.model = inspected.model
        if inspected.refused is not None:
            self._tolerate(record, inspected.refused, mode)
        return inspected.body

    # limit

    async def _admit(self, exchange: Exchange, record: Record, route: Route, found: Found | None, body: bytes | None) -> Admission | None:
        if found is None or not found.key.is_limited:
            return None
        size = len(body) if body is not None else exchange.body.length or 0
        return await self._limit.admit(found.key, record, self._inspector.estimate(route, size, body))

    # rewrite

    def _job(self, exchange: Exchange, record: Record, matched: Matched, body: bytes | None, extra: bytes, *, limited: bool) -> Job:
        host = exchange.head.host.decode()
        caller = Caller(record.key_id, record.request_id, record.client, exchange.connection.scheme, host, record.traceparent)
        return Job(exchange, record, matched.route, matched.hub_path.encode(), caller, body, extra, limited=limited)

    # answers of our own

    def _blocklet(self, exchange: Exchange, record: Record) -> None:
        head = exchange.head
        content_type, body = blocklet_answer((head.target.query or b"").decode())
        keep_alive = head.keep_alive and exchange.body.complete
        page = self._answers.page(content_type, body, record.request_id, keep_alive=keep_alive, head_only=head.method == b"HEAD")
        self._finish(exchange, record, 200, page)

    def _finish(self, exchange: Exchange, record: Record, status: int, answer: bytes) -> None:
        record.status = status
        self._meter.finish(record)
        exchange.connection.finish(answer, exchange.head.keep_alive)

    def _refuse(self, connection: Connection, record: Record, refused: Refused, exchange: Exchange | None) -> None:
        """Answer with a refusal; after the answer has begun, or when the client has left, only break off."""
        if record.finished or (exchange is not None and (exchange.gone or exchange.answered)):
            connection.abort()
            return
        record.refused(refused.refusal)
        keep_alive = (
            exchange is not None
            and exchange.body.complete
            and exchange.head.keep_alive
            and not refused.refusal.closes
            and not connection.draining
        )
        head_only = exchange is not None and exchange.head.method == b"HEAD"
        self._meter.finish(record)
        answer = self._answers.refusal(refused, record.request_id, keep_alive=keep_alive, head_only=head_only)
        connection.finish(answer, keep_alive)


def _deprecation(secret: Secret) -> bytes:
    """What answers to a retiring secret say: it is deprecated (RFC 9745), and when it stops working (RFC 8594)."""
    lines = f"deprecation: @{int(secret.retired_at or secret.created_at)}\r\n"
    if secret.expires_at is not None:
        lines += f"sunset: {formatdate(secret.expires_at, usegmt=True)}\r\n"
    return lines.encode()
