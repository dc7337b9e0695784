"""Who is the client, when proxies stand before us? Only named networks are believed (RFC 7239 8.1)."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from sidecar.settings.values import read_network

_MOST_REMEMBERED = 8192
_LONGEST_REMEMBERED = 64


def peer_of(transport: asyncio.BaseTransport) -> str:
    """The address of the other end; empty on a unix socket."""
    peer = transport.get_extra_info("peername")
    return peer[0] if isinstance(peer, tuple) else ""


class ClientAddress:
    """Finds the client's address behind `trusted` networks (CIDR).

    With `behind_proxy` whoever connects is a proxy that is believed, wherever it connects from.
    """

    def __init__(self, trusted: tuple[str, ...], *, behind_proxy: bool = False) -> None:
        self._trusted = tuple(read_network(network) for network in trusted)
        self._behind_proxy = behind_proxy
        self._remembered: dict[tuple[str, bytes], str] = {}

    def of(self, peer: str, forwarded_for: list[bytes]) -> str:
        """The address: `peer`, or the last one of X-Forwarded-For that no trusted proxy of ours wrote.

        `peer` is empty on a unix socket, which counts as trusted when any network is.
        """
        if not forwarded_for or not (self._trusted or self._behind_proxy):
            return peer
        if len(forwarded_for) > 1 or len(forwarded_for[0]) > _LONGEST_REMEMBERED:
            return self._found(peer, forwarded_for)
        key = (peer, forwarded_for[0])
        client = self._remembered.get(key)
        if client is None:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            client = self._remembered[key] = self._found(peer, forwarded_for)
        return client

    def _found(self, peer: str, forwarded_for: list[bytes]) -> str:
        if peer and not self._behind_proxy and not self._is_trusted(peer):
            return peer
        client = peer
        entries = [entry.strip() for entry in b",".join(forwarded_for).decode("latin-1").split(",")]
        for entry in reversed(entries):
            address = _parse(entry)
            if address is None:
                # What stands left of nonsense was not written by a proxy that we trust.
                return client
            client = _text(address)
            if not self._trusted or not self._is_trusted(client):
                return client
        return client

    def _is_trusted(self, text: str) -> bool:
        address = _parse(text)
        return address is not None and any(address in network for network in self._trusted)


@lru_cache(maxsize=8192)
def _text(address: IPv4Address | IPv6Address) -> str:
    return str(address)


@lru_cache(maxsize=8192)
def _parse(text: str) -> IPv4Address | IPv6Address | None:
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
