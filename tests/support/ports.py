"""Free loopback ports, below those that the kernel gives to outgoing connections.

One of those (32,768 and up) could take a port before the server that it is meant for has started. So could another
test process that looks for a free one at the same time: each process gives out ports of blocks that it alone holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import itertools
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

FIRST, END = 10_000, 20_000
ABOVE = 10_000
"""The nodes of a cluster talk to each other on the port this far above; a block holds those too."""
BLOCK = 250
BAD = frozenset({10_080})
"""What browsers, and the fetch of Node.js, connect to for nobody (WHATWG Fetch, "bad port"), of those from FIRST on."""


@functools.cache
def _mine() -> Iterator[int]:
    """The ports of this process's block, each again only when all others were given out."""
    folder = Path(tempfile.gettempdir()) / f"test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for first in range(FIRST, END, BLOCK):
        # Open for as long as the process lives; the lock ends with it, however it ends.
        lock = os.open(folder / str(first), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return itertools.cycle(port for port in range(first, first + BLOCK) if port not in BAD)
        os.close(lock)
    raise RuntimeError("more test processes at once than there are blocks of ports")


def free_port(*, also: int = 0) -> int:
    """A TCP port that nobody listens on at the moment, and neither on the one `also` (0 or ABOVE) above it."""
    assert also in (0, ABOVE)
    for port in itertools.islice(_mine(), 2 * BLOCK):
        with socket.socket() as probe, socket.socket() as second, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + also if also else 0))
            return port
    raise RuntimeError("every port of the block is in use")


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
