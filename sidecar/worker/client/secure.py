"""A client connection over TLS: counted and timed like any other from the moment that it is accepted, not from the end of its handshake.

A server of the loop's own TLS tells nobody of a connection before that, so whoever never ends a handshake would be outside every
bound. Here the server is a plain one, and the connection asks for TLS itself.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

from sidecar.refusals import Refused
from sidecar.worker.client.address import peer_of
from sidecar.worker.client.admission import admit_untold
from sidecar.worker.client.connection import ClientConnection
from sidecar.worker.client.front import Front
from sidecar.worker.drive import Drive
from sidecar.worker.tls import NEVER, hold_back_at_once


class SecureConnection(ClientConnection):
    """The protocol object of one client connection, as a plain server makes it for a plain transport."""

    def __init__(self, front: Front, context: ssl.SSLContext) -> None:
        super().__init__(front)
        self._context = context
        self._plain: asyncio.Transport | None = None
        self._refused: Refused | None = None
        """What the client is told after its handshake."""
        self._early: list[bytes] | None = []
        """What it has sent since then, while `_transport` is still the plain one; None from then on."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        plain = cast(asyncio.Transport, transport)
        self._transport = self._plain = plain
        self.peer = peer_of(plain)
        self._refused = admit_untold(self._front, self)
        if not plain.is_closing():
            # As far as the first wait within this call: not a byte may come to this protocol in the clear.
            Drive(self._secure(plain), self._front.loop).start()

    def data_received(self, data: bytes) -> None:
        if self._early is None:
            super().data_received(data)
        else:
            self._early.append(data)

    @property
    def unsent(self) -> int:
        """Bytes of answers that the client has not taken yet, also those that are encrypted already."""
        return 0 if self._lost or self._plain is None else super().unsent + self._plain.get_write_buffer_size()

    async def _secure(self, plain: asyncio.Transport) -> None:
        """Make `plain`, on which nothing was sent yet, a TLS transport, and begin to serve."""
        front = self._front
        try:
            secured = await front.loop.start_tls(
                plain, self, self._context, server_side=True, ssl_handshake_timeout=NEVER, ssl_shutdown_timeout=NEVER
            )
        except OSError:
            # It speaks no TLS, or none that we do, or has left.
            secured = None
        if secured is None or plain.is_closing():
            # Of a handshake that was broken off the transport tells nobody. It may tell of others again, which does no harm.
            self.connection_lost(None)
            return
        self._transport = secured
        hold_back_at_once(secured)
        early, self._early = self._early, None
        if self._refused is not None:
            front.serving.reject(self, self._refused)
        elif early:
            self.data_received(b"".join(early))
