"""One client connection of a listener: its deadlines, and what is said to bytes that are no request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web

from sidecar.control.listeners.reader_watch import ReaderWatch
from sidecar.control.listeners.unrouted import refusal_of, refused

HEAD_WITHIN = 10.0
"""Seconds for the whole head of a request: from connecting, TLS and all, and of each further request from its first byte."""
KEEP_ALIVE = 75.0
"""Seconds after an answer until the next request."""
WRITE_WITHIN = 15.0
"""Seconds in which a client takes something of what waits for it. Less than a liveness probe takes for three failures, ten seconds
apart: were all places held in this way, the pod would be restarted."""

_log = logging.getLogger(__name__)


class Connection(web.RequestHandler):
    """Closes who sends no whole head in time, or takes no answer, and says nothing of bytes that are no request.

    To those it answers a fixed text: aiohttp's own answer and log repeat them, and they may hold a secret.
    """

    __slots__ = ("_head_timer", "_on_lost", "_reader", "_wire", "allow", "has_asked")

    allow: str
    """The methods that the listener serves, for the header of that name."""

    def take_up(self, accepted: float, on_lost: Callable[[], None]) -> None:
        """Begin with a connection that was accepted at `accepted`, by the loop's clock."""
        self.has_asked = False
        self._on_lost = on_lost
        self._wire: asyncio.Transport | None = None
        self._reader = ReaderWatch(WRITE_WITHIN, self._give_up)
        self._head_timer: asyncio.TimerHandle | None = self._loop.call_at(accepted + HEAD_WITHIN, self._give_up)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open, over TLS after the handshake."""
        self._wire = cast(asyncio.Transport, transport)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The transport is closed."""
        self._wire = None
        self._disarm()
        self._reader.end()
        self._on_lost()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """More waits for the client than should."""
        super().pause_writing()
        if self._wire is not None:
            self._reader.begin(self._wire)

    def resume_writing(self) -> None:
        """The client has taken most of it."""
        super().resume_writing()
        if self._wire is not None and not self._wire.is_closing():
            self._reader.end()

    async def start(self) -> None:
        """Answer requests until there are no more."""
        try:
            await super().start()
        finally:
            self._see_off()

    def force_close(self) -> None:
        """Answer no more requests."""
        super().force_close()
        self._see_off()

    @property
    def idle_since(self) -> float | None:
        """Since when, by the loop's clock, it has waited for a next request of which nothing has come; None when it does not."""
        if self._waiter is None or self._waiter.done() or self._head_timer is not None or not self._request_count:
            return None
        return self._next_keepalive_close_time - self._keepalive_timeout

    def give_way(self) -> None:
        """Leave for a new connection, whether or not the client says goodbye."""
        wire = self._wire
        self.force_close()
        if wire is not None:
            # Not before the loop's next turn, in which our own farewell of TLS has gone out.
            self._loop.call_soon(wire.abort)

    def _see_off(self) -> None:
        # What closes waits until the client has taken the rest, and over TLS for its farewell too.
        if self._wire is not None and self._wire.is_closing():
            self._reader.begin(self._wire)

    def data_received(self, data: bytes) -> None:
        """Bytes have come, or may be parsed now."""
        self.has_asked = True
        heads = self._request_count
        super().data_received(data)
        if self._request_count != heads:
            self._disarm()
        elif self._head_timer is None and self._waiter is not None and not self._waiter.done():
            # Nobody is being answered, so this begins a head.
            self._head_timer = self._loop.call_later(HEAD_WITHIN, self._give_up)

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._disarm()
        self._reader.end()
        # Nobody looks at it from here on: asyncio's TLS that is closed after this has no socket that could be asked.
        wire, self._wire = self._wire, None
        if wire is not None:
            # `close` would wait for the client, which is what has taken too long. After it: asyncio's TLS closed twice cannot be aborted.
            wire.abort()
        self.force_close()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to what is no request, or to one whose handler failed; raises ConnectionError when one has begun already."""
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        _log.debug("%s sent what is no request: %s", request.remote, type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        return refused(refusal_of(exc), request, self.allow)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Tell of what failed here; a body that is not in its Content-Encoding, read to its end after the answer, is its sender's."""
        if isinstance(kw.get("exc_info"), web.RequestPayloadError):
            _log.debug("a body was not in the Content-Encoding that it came with")
            return
        super().log_exception(*args, **kw)
