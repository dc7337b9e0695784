"""Fits the bounds on connections into the file descriptors that this process may open. Pure.

Without descriptors left a worker could accept nothing, reach no hub and open no spool file, so the
bounds must be met first: they refuse in good order.
"""

from __future__ import annotations

from msgspec import structs

from sidecar.settings.declaration import Settings

RESERVE = 64
"""Descriptors for all else: store connections, spool, listener, name resolution, TLS clients that are to be told of a lack of room."""


def fit(settings: Settings, limit: int) -> Settings:
    """`settings` with `proxy.bounds.connections` and `hub.max_connections` scaled down to `limit` descriptors."""
    clients, hubs = settings.proxy.bounds.connections, settings.hub.max_connections
    wanted, available = clients + hubs, max(2, limit - RESERVE)
    if wanted <= available:
        return settings
    bounds = structs.replace(settings.proxy.bounds, connections=max(1, clients * available // wanted))
    return structs.replace(
        settings,
        hub=structs.replace(settings.hub, max_connections=max(1, hubs * available // wanted)),
        proxy=structs.replace(settings.proxy, bounds=bounds),
    )
