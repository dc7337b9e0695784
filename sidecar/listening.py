"""A TCP port that several sockets share: each gets its part of the connections from the kernel."""

from __future__ import annotations

import socket

from sidecar.settings.values import Listen


def bind(listen: Listen) -> socket.socket:
    """A socket that has a share of a TCP address as soon as somebody calls `listen` on it; raises OSError.

    Until then nobody is kept waiting in it, and yet the port is ours.
    """
    bound = socket.socket(socket.AF_INET6 if ":" in listen.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((listen.host, listen.port))
    except OSError:
        bound.close()
        raise
    return bound
