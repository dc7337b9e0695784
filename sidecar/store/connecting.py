"""Makes connections to an address: standalone, unix socket, TLS, Sentinel, Cluster.

redis-py's own timeouts and retries are switched off: with them a frozen server costs a request a
minute. Deadlines are kept by whoever waits.
"""

from __future__ import annotations

import sys
from typing import Any

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from sidecar.store.address import CONNECT_TIMEOUT, SENTINEL_TIMEOUT, Address
from sidecar.store.sentinels import Sentinels


def pool(address: Address) -> ConnectionPool:
    """A maker of raw connections to the server (with Sentinel: to the primary of the moment)."""
    if address.kind == "sentinel":
        waits = {"socket_timeout": SENTINEL_TIMEOUT, "socket_connect_timeout": SENTINEL_TIMEOUT, "retry": Retry(NoBackoff(), 0)}
        sentinels = Sentinels(list(address.hosts), sentinel_kwargs={**waits, **address.sentinel_options})  # type: ignore[no-untyped-call]
        return SentinelConnectionPool(address.service, sentinels, **_common(CONNECT_TIMEOUT), **address.options)  # type: ignore[no-untyped-call]
    options = dict(address.options)
    kind: type[Connection | UnixDomainSocketConnection] = UnixDomainSocketConnection if "path" in options else Connection
    if options.pop("ssl", False):
        kind = SSLConnection
    return ConnectionPool(kind, **_common(CONNECT_TIMEOUT), **options)


def cluster(address: Address, timeout: float) -> RedisCluster:
    """A cluster client; it connects when it is first used. `timeout`, in seconds, bounds connecting and each reply."""
    client = RedisCluster(
        startup_nodes=[ClusterNode(host, port) for host, port in address.hosts],
        require_full_coverage=False,
        # What the settings name stays what is asked when nothing else answers: it may be a name that leads to new servers.
        dynamic_startup_nodes=False,
        # Beyond its own bound it would not wait, but fail. Whoever asks (`gathering`) keeps one, and waits.
        max_connections=sys.maxsize,
        **{**_common(timeout), "socket_timeout": timeout},
        **address.options,
    )
    # Replies are to be the same for every kind of store; only the client's own questions keep their parsers.
    callbacks: dict[str, Any] = client.connection_kwargs["response_callbacks"]
    for command in [name for name in callbacks if not name.startswith(("CLUSTER", "COMMAND"))]:
        del callbacks[command]
    return client


def _common(timeout: float) -> dict[str, Any]:
    # No socket_timeout on raw connections: redis-py would make a task of every write; links keep deadlines themselves.
    return {
        "protocol": 3,
        "socket_timeout": None,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
