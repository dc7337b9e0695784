"""What uvloop's TLS does by itself, and a proxy must not let it do."""

from __future__ import annotations

import asyncio
from typing import Final

GOODBYE: Final = 3600.0
"""Seconds until uvloop breaks a closing connection off, whatever its other end takes meanwhile. Its own 30 would cut the end of
an answer off for a client that is slow. Who takes nothing, or never says goodbye (close_notify), is given up by our own deadlines."""


def hold_back_at_once(transport: asyncio.Transport) -> None:
    """Let `pause_reading` stop what is below TLS too. A quarter of a megabyte would be read on before that, and be dropped without
    a word if the other end closed meanwhile."""
    if transport.get_extra_info("sslcontext") is not None:
        transport.set_read_buffer_limits(1)  # type: ignore[attr-defined]
