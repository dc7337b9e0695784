"""TLS of the data plane's clients, and what uvloop's does by itself that a proxy must not let it do."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from sidecar.settings.declaration import Tls

NEVER: Final = 3600.0
"""Seconds until uvloop breaks a handshake or a farewell off by itself, whatever the other end does meanwhile. Its own 30 for the
farewell would cut the end of an answer off for a client that is slow. Who takes nothing, or never ends the handshake or says
goodbye (close_notify), is given up by our own deadlines."""


def tls_context(tls: Tls) -> ssl.SSLContext:
    """The context of a TLS listener: TLS 1.2 or newer, HTTP/1.1 only. Raises OSError or ssl.SSLError for unusable files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.certificate_file, tls.key_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


def hold_back_at_once(transport: asyncio.Transport) -> None:
    """Let `pause_reading` stop what is below TLS too. A quarter of a megabyte would be read on before that, and be dropped without
    a word if the other end closed meanwhile."""
    if transport.get_extra_info("sslcontext") is not None:
        transport.set_read_buffer_limits(1)  # type: ignore[attr-defined]
