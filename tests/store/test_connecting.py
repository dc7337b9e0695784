from __future__ import annotations

from pathlib import Path

import pytest
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection

from sidecar.settings import declaration
from sidecar.settings.values import StoreUrl
from sidecar.store.address import resolve
from sidecar.store.connecting import pool


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("embedded", UnixDomainSocketConnection),
        ("unix:///run/a.sock", UnixDomainSocketConnection),
        ("redis://h", Connection),
        ("rediss://h?ca_file=/ca.pem", SSLConnection),
    ],
)
def test_connections_have_no_timeout_of_their_own(url: str, kind: type[AbstractConnection]) -> None:
    connection = pool(resolve(declaration.Store(url=StoreUrl.parse(url)), Path("/data"))).make_connection()
    assert type(connection) is kind
    assert connection.socket_timeout is None
    assert connection.retry.get_retries() == 0
