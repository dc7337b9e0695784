"""Forward: one request to the hub, its answer to the client, as they come.

A small exchange is one write each way. Nothing is ever sent twice: a fault before the answer is a
refusal, a fault within it breaks the client's connection off, so that it never looks complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sidecar.hubs.model import peek_model, peek_target
from sidecar.hubs.profile import Route
from sidecar.hubs.usage import UsageReader, open_reader, rejects_credential
from sidecar.refusals import HUB_BROKEN_ANSWER, HUB_REJECTED_CREDENTIAL, HUB_TIMEOUT, HUB_UNAVAILABLE, Refused
from sidecar.worker.client.body import ClientGone
from sidecar.worker.client.exchange import Exchange
from sidecar.worker.drive import Drive
from sidecar.worker.meter import Meter, Record
from sidecar.worker.rewrite import AnswerRewriter, Caller, Framing, RequestRewriter
from sidecar.worker.upstream.connection import HubConnection, HubFault
from sidecar.worker.upstream.drain import Drains
from sidecar.worker.upstream.pool import HubPool

_FAULTS = {"timeout": HUB_TIMEOUT, "invalid_answer": HUB_BROKEN_ANSWER}


class Job:
    """One forwarding: what the earlier stages decided."""

    __slots__ = ("body", "caller", "exchange", "extra", "hub_path", "limited", "reader", "record", "route")

    def __init__(
        self,
        exchange: Exchange,
        record: Record,
        route: Route,
        hub_path: bytes,
        caller: Caller,
        body: bytes | None,
        extra: bytes,
        limited: bool,
    ) -> None:
        self.exchange = exchange
        self.record = record
        self.route = route
        self.hub_path = hub_path
        self.caller = caller
        self.body = body
        """The whole body when it is here already; None when it streams."""
        self.extra = extra
        """Header lines for the client's answer."""
        self.limited = limited
        """Whether the answer carries rate-limit fields of ours."""
        self.reader: UsageReader | None = None


class Forwarder:
    """Carries requests to the hub."""

    def __init__(
        self,
        pool: HubPool,
        requests: RequestRewriter,
        answers: AnswerRewriter,
        meter: Meter,
        drains: Drains,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        *,
        maps_unauthorized: bool,
    ) -> None:
        self._pool = pool
        self._requests = requests
        self._answers = answers
        self._meter = meter
        self._drains = drains
        self._loop = loop
        self._clock = clock
        self._maps_unauthorized = maps_unauthorized
        self.truncated = 0
        """Answers that broke off, since the worker began."""

    async def forward(self, job: Job) -> None:
        """Send the request, pass the answer on.

        Raises Refused while nothing of an answer was sent, and ClientGone while nothing of the request was.
        """
        exchange, record = job.exchange, job.record
        if job.body is None:
            # Before a connection is taken: a body that is broken from the start never reaches the hub.
            first = await exchange.body.read()
            # Whether a small body comes with the head or behind it is the network's choice, and tells nothing of the request.
            record.model = record.model or peek_model(job.route.model, first) or peek_target(job.route.model, *exchange.head.target)
        method = exchange.head.method
        hub = self._pool.take(method) or await self._pool.connect(method)
        record.hub_started = self._clock()
        upload: Drive | None = None
        exchange.on_gone = lambda: self._client_gone(hub)
        try:
            if exchange.gone:
                raise ClientGone
            if job.body is not None:
                length = len(job.body) if job.body or exchange.head.content_length is not None or exchange.head.chunked else None
                hub.send(self._requests.head(exchange.head, job.hub_path, job.route, job.caller, Framing(length, False)) + job.body)
                hub.sent()
            else:
                upload = Drive(self._upload(job, hub, first), self._loop)
                upload.start()
            await self.answer(job, hub)
        except HubFault as fault:
            self.broken(job, fault)
        finally:
            exchange.on_gone = None
            if upload is not None:
                upload.cancel()
            self._drains.end(hub)
            self._pool.give_back(hub)

    async def _upload(self, job: Job, hub: HubConnection, first: bytes) -> None:
        body = job.exchange.body
        framing = Framing(body.length, body.length is None)
        hub.send(self._requests.head(job.exchange.head, job.hub_path, job.route, job.caller, framing))
        try:
            piece = first
            while piece:
                hub.send(piece if not framing.chunked else b"%x\r\n%b\r\n" % (len(piece), piece))
                await hub.writable()
                piece = await body.read()
        except (Refused, ClientGone):
            # The hub must see that the request broke off, never a request that looks whole.
            hub.abort("request_broke_off")
            return
        if framing.chunked:
            hub.send(b"0\r\n\r\n")
        hub.sent()

    async def answer(self, job: Job, hub: HubConnection) -> None:
        """Pass the hub's answer on. Raises HubFault, or Refused while nothing of it was sent."""
        record, exchange = job.record, job.exchange
        status = await hub.head()
        record.first_byte = self._clock() - record.started
        content_type, encoding, length = _described(hub.headers)
        streaming = content_type.startswith("text/event-stream")
        # Who asked for events is told within a 200. It comes with the head; what comes later is in the client's hands by then.
        if self._maps_unauthorized and (status == 401 or (streaming and rejects_credential(hub.here()))):
            record.hub_status, record.bytes_in = status, exchange.body.received
            record.hub_time = self._clock() - record.hub_started
            raise Refused(HUB_REJECTED_CREDENTIAL)
        if status == 101:
            raise HubFault("invalid_answer")
        record.answered(status)
        record.streaming = streaming
        # An answer that is no success, or has no body by its nature, tells nothing of use.
        telling = 200 <= status < 300 and status != 204 and exchange.head.method != b"HEAD"
        job.reader = open_reader(job.route.usage if telling else "none", content_type, encoding)
        if job.limited and content_type.startswith("audio/"):
            # Sound has no word of its use, for which an estimate in tokens would stand.
            record.reserved = 0
        head = self._answers.head(status, hub.headers, record.request_id, job.extra, limited=job.limited)
        data = hub.whole()
        if data is None:
            await self._stream(job, hub, head, length)
            return
        job.reader.feed(data)
        record.bytes_out = 0 if exchange.gone else len(data)
        if status in (204, 304):
            length = None
        elif exchange.head.method != b"HEAD":
            length = len(data)
        if length is not None:
            head += b"content-length: %d\r\n" % length
        keep_alive = exchange.keeps_alive
        self._finish(job, head + _connection(exchange, keep_alive) + data, keep_alive)

    async def _stream(self, job: Job, hub: HubConnection, head: bytes, length: int | None) -> None:
        exchange, record, connection, reader = job.exchange, job.record, job.exchange.connection, job.reader
        assert reader is not None
        chunked = length is None and exchange.head.minor_version == 1
        keep_alive = exchange.keeps_alive and (chunked or length is not None)
        head += b"transfer-encoding: chunked\r\n" if chunked else b"" if length is None else b"content-length: %d\r\n" % length
        exchange.answered = True
        connection.write(head + _connection(exchange, keep_alive))
        while True:
            data, last = await hub.read()
            reader.feed(data)
            if exchange.gone:
                self._drains.count(hub, len(data))
            else:
                record.bytes_out += len(data)
                if chunked and data:
                    data = b"%x\r\n%b\r\n" % (len(data), data)
            if last:
                self._finish(job, data + b"0\r\n\r\n" if chunked else data, keep_alive)
                return
            if not exchange.gone:
                connection.write(data)
                await connection.writable()
            self._meter.progress(record)

    def _finish(self, job: Job, data: bytes, keep_alive: bool) -> None:
        exchange, record = job.exchange, job.record
        record.hub_time = self._clock() - record.hub_started
        record.bytes_in = exchange.body.received
        _read_usage(record, job.reader, complete=True)
        if exchange.gone and record.ending == "complete":
            record.outcome, record.ending = "client_closed", "drained"
        self._meter.finish(record)
        exchange.connection.finish(data, keep_alive)

    def _client_gone(self, hub: HubConnection) -> None:
        if not self._drains.begin(hub):
            hub.abort("client_gone")

    def broken(self, job: Job, fault: HubFault) -> None:
        """End a job whose hub connection failed. Raises Refused when the client can still be told."""
        record, exchange = job.record, job.exchange
        record.bytes_in = exchange.body.received
        record.hub_time = self._clock() - record.hub_started
        # What ended the request's body is what the client is told and what is counted, not that the hub connection ended with it.
        cause = exchange.body.error
        if job.reader is not None:
            _read_usage(record, job.reader, complete=False)
        if exchange.gone:
            if record.ending == "complete":
                record.outcome, record.ending = "client_closed", "client_closed"
        elif not record.status:
            raise cause if isinstance(cause, Refused) else Refused(_FAULTS.get(fault.reason, HUB_UNAVAILABLE))
        elif isinstance(cause, Refused):
            record.broken_off(cause.refusal, "refused")
        else:
            self.truncated += 1
            record.outcome, record.ending = "hub_error", "timeout" if fault.reason == "timeout" else "hub_aborted"
            record.reason, record.error = "hub_timeout" if fault.reason == "timeout" else "hub_unavailable", fault.reason
        self._meter.finish(record)
        if not exchange.gone:
            exchange.connection.abort()


def _read_usage(record: Record, reader: UsageReader | None, *, complete: bool) -> None:
    if reader is None:
        return
    usage = reader.finish(complete)
    record.tokens = usage.tokens
    record.usage_source = usage.source
    record.model_served = usage.model
    if usage.error and record.outcome == "ok":
        # A failure in a 200: the status alone would count it as a success.
        rejected = usage.error == HUB_REJECTED_CREDENTIAL.code
        record.outcome, record.error = "hub_error", usage.error
        record.reason = usage.error if rejected else f"{record.status // 100}xx"


def _connection(exchange: Exchange, keep_alive: bool) -> bytes:
    """The Connection field of an answer and the blank line that ends its head."""
    if not keep_alive:
        return b"connection: close\r\n\r\n"
    return b"\r\n" if exchange.head.minor_version else b"connection: keep-alive\r\n\r\n"


def _described(headers: list[tuple[bytes, bytes]]) -> tuple[str, str, int | None]:
    """Content-Type, Content-Encoding and Content-Length of an answer."""
    content_type = encoding = ""
    length = None
    for name, value in headers:
        size = len(name)
        if size == 12 and name.lower() == b"content-type":
            content_type = value.decode("latin-1").lower()
        elif size == 14 and name.lower() == b"content-length":
            length = int(value)
        elif size == 16 and name.lower() == b"content-encoding":
            encoding = value.decode("latin-1").lower()
    return content_type, encoding, length
