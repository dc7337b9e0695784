"""Accept: who is asking for what, from where, in which trace? The beginning of a request's record."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.redaction import without_secrets
from sidecar.refusals import LOOP_DETECTED, Refused
from sidecar.worker.client.address import ClientAddress
from sidecar.worker.client.exchange import Exchange
from sidecar.worker.client.request_head import RequestHead
from sidecar.worker.meter import LONGEST_AGENT, Record
from sidecar.worker.tracing import span_of


class Accept:
    """Begins records for one worker."""

    def __init__(self, addresses: ClientAddress, via: str, request_ids: Callable[[], str], clock: Callable[[], float]) -> None:
        self._addresses = addresses
        self._via = via.encode()
        self._request_ids = request_ids
        self._clock = clock
        self.started = 0
        """Requests whose head was read, since the worker began."""

    def request(self, exchange: Exchange) -> Record:
        """The record of a request that has just arrived."""
        self.started += 1
        head = exchange.head
        record = Record(self._request_ids(), exchange.started)
        notes = head.notes
        if notes.agent is None:
            notes.method, notes.path = head.method.decode(), head.target.path.decode()
            notes.agent = without_secrets((head.first(b"user-agent") or b"").decode("utf-8", "replace"), LONGEST_AGENT)
        record.method, record.path, record.agent = notes.method, notes.path, notes.agent
        record.client = self._addresses.of(exchange.connection.peer, head.all(b"x-forwarded-for"))
        span = span_of(head.all(b"traceparent"))
        record.trace_id, record.span_id, record.traceparent, record.in_trace = span.trace_id, span.span_id, span.traceparent, span.goes_on
        return record

    def nonsense(self, peer: str) -> Record:
        """The record of bytes that never became a request."""
        record = Record(self._request_ids(), self._clock())
        record.client = peer
        return record

    def refuse_loops(self, head: RequestHead) -> None:
        """Raise Refused when the request has passed through this sidecar before (RFC 9110 7.6.3)."""
        if any(self._via in value for value in head.all(b"via")):
            raise Refused(LOOP_DETECTED)
