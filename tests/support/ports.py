"""Free loopback ports, below those that the kernel gives to outgoing connections.

One of those (32,768 and up) could take a port before the server that it is meant for has started.
"""

from __future__ import annotations

import contextlib
import random
import socket

FIRST, END = 10_000, 32_768


def free_port(*, also: int = 0) -> int:
    """A TCP port that nobody listens on at the moment, and neither on the one `also` above it."""
    while True:
        port = random.randrange(FIRST, END - also)
        with socket.socket() as probe, socket.socket() as second, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + also if also else 0))
            return port


def is_open(port: int) -> bool:
    """Whether somebody accepts connections on `port`."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_ports(count: int) -> list[int]:
    """Different TCP ports that nobody listens on at the moment."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)
