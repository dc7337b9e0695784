"""WebSocket (RFC 6455): the handshake is forwarded, then bytes are carried both ways, close codes and all.

The hub agrees first; only its 101 lets the client switch. Frames are not looked into.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable
from typing import cast

from sidecar.refusals import INVALID_REQUEST, WEBSOCKET_VERSION, Refused
from sidecar.worker.client.body import ClientGone
from sidecar.worker.client.request_head import RequestHead
from sidecar.worker.forward import Forwarder, Job
from sidecar.worker.meter import Meter
from sidecar.worker.rewrite import AnswerRewriter, Framing, RequestRewriter
from sidecar.worker.upstream.connection import HubFault
from sidecar.worker.upstream.pool import HubPool


def check_handshake(head: RequestHead) -> bool:
    """Whether `head` asks for a WebSocket. Raises Refused when it asks wrongly (RFC 6455 4.2.1)."""
    if head.upgrade != b"websocket":
        return False
    if head.method != b"GET" or head.has_body:
        raise Refused(INVALID_REQUEST, "A WebSocket handshake is a GET without a body.")
    if head.all(b"sec-websocket-version") != [b"13"]:
        raise Refused(WEBSOCKET_VERSION, headers=(("sec-websocket-version", "13"), ("upgrade", "websocket")))
    keys = head.all(b"sec-websocket-key")
    try:
        valid = len(keys) == 1 and len(base64.b64decode(keys[0], validate=True)) == 16
    except binascii.Error:
        valid = False
    if not valid:
        raise Refused(INVALID_REQUEST, "Sec-WebSocket-Key is not 16 bytes of base64.")
    return True


class Tunneler:
    """Carries WebSockets to the hub."""

    def __init__(
        self,
        pool: HubPool,
        requests: RequestRewriter,
        answers: AnswerRewriter,
        meter: Meter,
        forwarder: Forwarder,
        clock: Callable[[], float],
    ) -> None:
        self._pool = pool
        self._requests = requests
        self._answers = answers
        self._meter = meter
        self._forwarder = forwarder
        self._clock = clock

    async def forward(self, job: Job) -> None:
        """Forward the handshake; then carry bytes until either side ends."""
        exchange, record = job.exchange, job.record
        hub = await self._pool.connect(b"GET")
        record.hub_started = self._clock()
        exchange.on_gone = hub.abort
        try:
            if exchange.gone:
                raise ClientGone
            head = self._requests.head(exchange.head, job.hub_path, job.route, job.caller, Framing(None, False), upgrade=True)
            hub.send(head)
            hub.sent()
            status = await hub.head()
            if status != 101 or hub.upgraded is None:
                await self._forwarder.answer(job, hub)
                return
            record.answered(status)
            record.streaming = exchange.answered = True
            answer = self._answers.head(status, hub.headers, record.request_id, job.extra, limited=job.limited)
            exchange.connection.write(answer + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n")
            exchange.on_gone = None
            to_hub, to_client = _Pipe(), _Pipe()
            client_transport, rest = exchange.connection.tunnel(to_hub)
            hub_transport = hub.tunnel(to_client)
            to_hub.join(client_transport, hub_transport)
            to_client.join(hub_transport, client_transport)
            to_hub.open()
            # Not with the head: who has the transport must hear that it is full, and that it is so no more.
            to_client.data_received(hub.upgraded)
            exchange.cut = client_transport.abort
            to_client.ended_early()
            to_hub.ended_early()
            to_hub.data_received(rest)
            await asyncio.gather(to_hub.ended, to_client.ended)
            record.bytes_in, record.bytes_out = to_hub.moved, to_client.moved
        except HubFault as fault:
            self._forwarder.broken(job, fault)
        finally:
            record.hub_time = self._clock() - record.hub_started
            self._pool.give_back(hub)


class _Pipe(asyncio.Protocol):
    """One direction: receives on `source`, writes to `sink`."""

    def __init__(self) -> None:
        self._source: asyncio.Transport = cast(asyncio.Transport, None)
        self._sink: asyncio.Transport = cast(asyncio.Transport, None)
        self.moved = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def join(self, source: asyncio.Transport, sink: asyncio.Transport) -> None:
        self._source, self._sink = source, sink

    def open(self) -> None:
        """Read the source on: one that sent too much before it was answered was held back."""
        if not self._source.is_closing():
            self._source.resume_reading()

    def ended_early(self) -> None:
        """End this direction if its source was lost before it was handed over: nobody will say so any more."""
        if self._source.is_closing():
            self.connection_lost(None)

    def data_received(self, data: bytes) -> None:
        if data and not self._sink.is_closing():
            self.moved += len(data)
            self._sink.write(data)

    def pause_writing(self) -> None:
        # This protocol's own transport is full: the other direction feeds it.
        if not self._sink.is_closing():
            self._sink.pause_reading()

    def resume_writing(self) -> None:
        if not self._sink.is_closing():
            self._sink.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None:
            self._sink.close()
        else:
            # A reset must stay a reset: a clean end would look like an agreed one.
            self._sink.abort()
        if not self.ended.done():
            self.ended.set_result(None)
