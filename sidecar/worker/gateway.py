"""The line that every request travels: accept → identify → authorize → limit → rewrite → forward → meter.

The order matters. The key is known before anything else is said, so that strangers learn nothing of
routes; the model is judged before the limit, so that refused requests consume nothing; the meter
stands around all of it, so that it sees every ending.
"""

from __future__ import annotations

import asyncio
import logging

from sidecar.hubs.blocklet import blocklet_answer
from sidecar.hubs.profile import Route
from sidecar.hubs.routing import Matched, Router
from sidecar.keys.reader import Found
from sidecar.limits.decision import Admission
from sidecar.refusals import INTERNAL_ERROR, KEY_STORE_UNAVAILABLE, Refused
from sidecar.store.errors import StoreUnavailable
from sidecar.worker.accept import Accept
from sidecar.worker.answer import Answers, deprecation
from sidecar.worker.client.body import ClientGone
from sidecar.worker.client.exchange import Connection, Exchange
from sidecar.worker.enforce import Enforcer
from sidecar.worker.forward import Forwarder, Job
from sidecar.worker.identify import end_of
from sidecar.worker.inspection import BodyInspector
from sidecar.worker.limit import Limit, header_lines
from sidecar.worker.meter import Meter, Record
from sidecar.worker.open_requests import OpenRequests
from sidecar.worker.rewrite import Caller
from sidecar.worker.upstream.tunnel import Tunneler, check_handshake

_log = logging.getLogger(__name__)


class Gateway:
    """Serves exchanges, each along the whole line."""

    def __init__(
        self,
        *,
        accept: Accept,
        enforcer: Enforcer,
        router: Router,
        inspector: BodyInspector,
        limit: Limit,
        forwarder: Forwarder,
        tunneler: Tunneler,
        meter: Meter,
        answers: Answers,
        open_requests: OpenRequests,
    ) -> None:
        self._accept = accept
        self._enforcer = enforcer
        self._router = router
        self._inspector = inspector
        self._limit = limit
        self._forwarder = forwarder
        self._tunneler = tunneler
        self._meter = meter
        self._answers = answers
        self._open = open_requests

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
            if record.ending == "complete":
                record.outcome, record.ending = "client_closed", "client_closed"
        except asyncio.CancelledError:
            if record.ending == "complete":
                record.outcome, record.ending = "sidecar_error", "shutdown"
            raise
        except Exception:
            _log.exception("request %s failed", record.request_id)
            self._refuse(exchange.connection, record, Refused(INTERNAL_ERROR), exchange)
        finally:
            self._open.remove(record)
            exchange.body.forget()
            self._meter.finish(record)

    def reject(self, connection: Connection, refused: Refused) -> None:
        """Answer bytes that never became a request."""
        self._refuse(connection, self._accept.nonsense(connection.peer), refused, None)

    async def _line(self, exchange: Exchange, record: Record) -> None:
        head = exchange.head
        if head.method == b"OPTIONS":
            keep_alive = exchange.keeps_alive_unsaid
            requested = head.first(b"access-control-request-headers")
            self._finish(exchange, record, 204, self._answers.preflight(requested, record.request_id, keep_alive=keep_alive), keep_alive)
            return
        self._open.require_place()
        self._accept.refuse_loops(head)
        websocket = check_handshake(head)
        matched, no_route = self._router.look_up(record.method, record.path)
        # identify
        known = None if matched is not None and matched.route.public else self._enforcer.recognize(head, record)
        found = await self._ask(known, record) if isinstance(known, bytes) else known
        self._open.add(record, exchange, end_of(found.key, found.secret) if found is not None else None)
        if matched is None:
            assert no_route is not None
            raise no_route
        record.route = matched.route.name
        # authorize
        if found is not None:
            self._enforcer.check_use(found, record, matched.route)
        if matched.route.answer == "blocklet":
            self._blocklet(exchange, record)
            return
        body = exchange.body.whole()
        if body is None:
            body = await self._enforcer.read(exchange, record, matched.route, found)
        body = self._enforcer.inspect(exchange, record, matched.route, found, body)
        # limit
        if body is None and exchange.body.error is not None:
            # It is known to be broken already, so it will never reach the hub.
            raise exchange.body.error
        admission = await self._admit(exchange, record, matched.route, found, body)
        try:
            # rewrite, forward, meter
            job = self._job(exchange, record, matched, body, found, admission)
            await (self._tunneler if websocket and matched.route.websocket else self._forwarder).forward(job)
        except Refused as refused:
            self._limit.failed(admission, record, refused)
            raise
        except ClientGone:
            self._limit.unsent(admission, record)
            raise
        finally:
            if admission is not None:
                self._limit.release(admission, record, self._guess(exchange, matched.route))

    # identify

    async def _ask(self, token: bytes, record: Record) -> Found | None:
        changes = self._open.changes
        found = await self._enforcer.ask(token, record)
        if found is not None and self._open.changes != changes:
            # The store's answer may be older than a change that was reported meanwhile, before this request was among the open ones.
            self._open.look_again(found.key.id)
        return found

    # limit

    async def _admit(self, exchange: Exchange, record: Record, route: Route, found: Found | None, body: bytes | None) -> Admission | None:
        if found is None or not found.key.is_limited:
            return None
        size = len(body) if body is not None else exchange.body.length or 0
        return await self._limit.admit(found.key, record, self._inspector.estimate(exchange, route, size, body))

    def _guess(self, exchange: Exchange, route: Route) -> int:
        """The estimate for a body that told no length, by what came of it; 0 for any other."""
        body = exchange.body
        return self._inspector.estimate(exchange, route, body.received, None) if body.length is None and body.received else 0

    # rewrite

    def _job(
        self, exchange: Exchange, record: Record, matched: Matched, body: bytes | None, found: Found | None, admission: Admission | None
    ) -> Job:
        extra = header_lines(admission) if admission is not None else b""
        if found is not None and found.secret.state == "retiring":
            extra += deprecation(found.secret)
        host = exchange.head.host.decode()
        caller = Caller(
            record.key_id, record.request_id, record.client, exchange.connection.scheme, host, record.traceparent, record.in_trace
        )
        return Job(exchange, record, matched.route, matched.hub_path.encode(), caller, body, extra, limited=admission is not None)

    # answers of our own

    def _blocklet(self, exchange: Exchange, record: Record) -> None:
        head = exchange.head
        content_type, body = blocklet_answer((head.target.query or b"").decode())
        keep_alive = exchange.keeps_alive_unsaid
        page = self._answers.page(content_type, body, record.request_id, keep_alive=keep_alive, head_only=head.method == b"HEAD")
        self._finish(exchange, record, 200, page, keep_alive)

    def _finish(self, exchange: Exchange, record: Record, status: int, answer: bytes, keep_alive: bool) -> None:
        record.status = status
        self._meter.finish(record)
        exchange.connection.finish(answer, keep_alive)

    def _refuse(self, connection: Connection, record: Record, refused: Refused, exchange: Exchange | None) -> None:
        """Answer with a refusal; after the answer has begun, or when the client has left, only break off."""
        if exchange is not None and exchange.gone:
            if record.ending == "complete":
                # Nobody hears it, but it is what became of the request, which would count as a good one.
                record.refused(refused.refusal)
            return
        if record.finished or (exchange is not None and exchange.answered):
            record.broken_off(refused.refusal, "refused")
            connection.abort()
            return
        record.refused(refused.refusal)
        keep_alive = exchange is not None and not refused.refusal.closes and exchange.keeps_alive_unsaid
        head_only = exchange is not None and exchange.head.method == b"HEAD"
        self._meter.finish(record)
        answer = self._answers.refusal(refused, record.request_id, keep_alive=keep_alive, head_only=head_only)
        connection.finish(answer, keep_alive)
