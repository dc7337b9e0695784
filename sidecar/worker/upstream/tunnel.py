"""WebSocket (RFC 6455): the handshake is forwarded, then bytes are carried both ways, close codes and all.

The hub agrees first; only its 101 lets the client switch. Frames are not looked into.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from functools import partial

from sidecar.refusals import INVALID_REQUEST, WEBSOCKET_VERSION, Refused
from sidecar.worker.client.body import ClientGone
from sidecar.worker.client.request_head import RequestHead
from sidecar.worker.forward import Forwarder, Job
from sidecar.worker.meter import Meter, Record
from sidecar.worker.rewrite import AnswerRewriter, Framing, RequestRewriter
from sidecar.worker.upstream.connection import HubConnection, HubFault
from sidecar.worker.upstream.pipe import Cause, Tunnel
from sidecar.worker.upstream.pool import HubPool


def check_handshake(head: RequestHead) -> bool:
    """Whether `head` asks for a WebSocket. Raises Refused when it asks wrongly (RFC 6455 4.2.1)."""
    if head.upgrade != b"websocket":
        return False
    if head.method != b"GET" or head.has_body:
        raise Refused(INVALID_REQUEST, "A WebSocket handshake is a GET without a body.")
    if head.all(b"sec-websocket-version") != [b"13"]:
        raise Refused(WEBSOCKET_VERSION, headers=(("sec-websocket-version", "13"), ("connection", "upgrade"), ("upgrade", "websocket")))
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
        """Forward the handshake; then carry bytes until either side ends. Raises as `Forwarder.forward`."""
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
            if not _is_websocket(hub):
                raise HubFault("invalid_answer")
            record.first_byte = self._clock() - record.started
            record.answered(status)
            record.streaming = exchange.answered = True
            answer = self._answers.head(status, hub.headers, record.request_id, job.extra, limited=job.limited)
            exchange.connection.write(answer + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n")
            exchange.on_gone = None
            await self._carry(job, hub, hub.upgraded)
        except HubFault as fault:
            self._forwarder.broken(job, fault)
        finally:
            # Who was refused may take the refusal long after this connection serves somebody else, and leave then.
            exchange.on_gone = None
            record.hub_time = self._clock() - record.hub_started
            self._pool.give_back(hub)

    async def _carry(self, job: Job, hub: HubConnection, first: bytes) -> None:
        """Carry bytes both ways, `first` of the hub's before others, until both sides have ended."""
        exchange, record = job.exchange, job.record

        def count() -> None:
            record.bytes_in, record.bytes_out = to_hub.moved, to_client.moved
            self._meter.progress(record)

        tunnel = Tunnel(self._pool.tunnels, count)
        to_hub, to_client = tunnel.to_hub, tunnel.to_client
        client_transport, rest, over = exchange.connection.tunnel(to_hub)
        try:
            tunnel.join(client_transport, hub.tunnel(to_client))
            to_hub.open()
            # Not with the head: who has the transport must hear that it is full, and that it is so no more.
            to_client.data_received(first)
            exchange.cut = partial(tunnel.cut, "")
            to_client.ended_early()
            to_hub.ended_early()
            to_hub.data_received(rest)
            await tunnel.ended()
        finally:
            over()
        record.bytes_in, record.bytes_out = to_hub.moved, to_client.moved
        if record.ending == "complete":
            _tell_cut(record, tunnel.cut_for)


def _is_websocket(hub: HubConnection) -> bool:
    """Whether the hub's 101 is for what was asked (RFC 6455 4.1); the client is told so in our own words."""
    return [value.strip().lower() for name, value in hub.headers if name.lower() == b"upgrade"] == [b"websocket"]


def _tell_cut(record: Record, cause: Cause) -> None:
    if cause == "client":
        record.outcome, record.ending = "client_closed", "client_closed"
    elif cause == "hub":
        record.outcome, record.reason, record.error, record.ending = "hub_error", "hub_timeout", "timeout", "timeout"
    elif cause == "silence":
        # Whose fault it is nobody knows, if it is one at all.
        record.ending = "timeout"
