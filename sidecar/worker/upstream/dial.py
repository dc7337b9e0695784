"""Opens a connection to the hub's address; of several that its name has, to the first that answers.

A name may have an address that swallows everything, such as that of a host that is down or of IPv6 behind a network that
does not carry it. Tried one after the other, it alone would use up the time for all of them (RFC 8305).
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Sequence

from aiohappyeyeballs import AddrInfoType, start_connection

from sidecar.settings.values import HubUrl
from sidecar.worker.upstream.connection import HubConnection

STAGGER = 0.25
"""Seconds for which an address may be silent until the next is tried beside it; the first to answer is taken (RFC 8305 5)."""

_ADDRESS = re.compile(r"[0-9.]+|.*:.*")
"""What is an address already, not a name: no name has a colon, or ends in a number."""


async def dial(
    loop: asyncio.AbstractEventLoop, protocol: Callable[[], HubConnection], url: HubUrl, tls: ssl.SSLContext | None, patience: float
) -> HubConnection:
    """Connect to `url`, which the caller gives up after `patience` seconds. Raises OSError, ssl.SSLError or ValueError."""
    if url.socket:
        _, connection = await loop.create_unix_connection(protocol, url.socket)
        return connection
    name, host = url.host if tls is not None else None, url.host
    if not _ADDRESS.fullmatch(host):
        # Each time anew, for names move. Some resolvers say an address twice.
        found = list(dict.fromkeys(await loop.getaddrinfo(host, url.port, type=socket.SOCK_STREAM)))
        if len(found) > 1 or _zone(found[0]):
            # Where patience is short for so many, the last one must get its turn too, and time to answer.
            answered = await _first_to_answer(loop, found, min(STAGGER, patience / 2 / len(found)))
            _, connection = await loop.create_connection(protocol, sock=answered, ssl=tls, server_hostname=name)
            return connection
        host = str(found[0][4][0])
    _, connection = await loop.create_connection(protocol, host, url.port, ssl=tls, server_hostname=name)
    return connection


def _zone(address: AddrInfoType) -> int:
    """The network card that an address of IPv6 is meant for, which its letters alone do not say; 0 means any."""
    endpoint = address[4]
    return endpoint[3] if len(endpoint) > 3 else 0


async def _first_to_answer(loop: asyncio.AbstractEventLoop, addresses: Sequence[AddrInfoType], stagger: float) -> socket.socket:
    try:
        return await start_connection(addresses, happy_eyeballs_delay=stagger, loop=loop)
    except RuntimeError as error:
        # uvloop's, where it takes the descriptor for one that it still has.
        raise OSError(f"no address of the hub could be tried: {error}") from error
