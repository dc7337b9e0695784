"""Listening sockets on a TCP port that several may share: each gets its part of the connections from the kernel."""

from __future__ import annotations

import socket

from sidecar.settings.values import Listen


def bind(listen: Listen) -> socket.socket:
    """A socket that has a share of a TCP address as soon as somebody calls `listen` on it; raises OSError.

    Until then nobody is kept waiting in it, and yet the port is ours.
    """
    bound = socket.socket(socket.AF_INET6 if ":" in listen.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        _take(bound, (listen.host, listen.port))
    except OSError:
        bound.close()
        raise
    return bound


def bind_each(listen: Listen) -> list[socket.socket]:
    """Such a socket for each address that the host has, which a name such as localhost has several of; raises OSError."""
    found = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    bound: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                bound.append(socket.socket(family, kind, protocol))
            except OSError:
                continue  # a machine without IPv6
            if family == socket.AF_INET6:
                bound[-1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            _take(bound[-1], address)
    except OSError:
        for each in bound:
            each.close()
        raise
    return bound


def _take(made: socket.socket, address: object) -> None:
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(address)  # type: ignore[arg-type]
