"""The embedded store of a sidecar under test, looked at from outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from tests.support.sidecar import Sidecar


@contextmanager
def opened(sidecar: Sidecar) -> Iterator[redis.Redis]:
    """A client of the store; answers are bytes."""
    client = redis.Redis(unix_socket_path=str(next((sidecar.data_dir / "store").glob("*.sock"))))
    try:
        yield client
    finally:
        client.close()
