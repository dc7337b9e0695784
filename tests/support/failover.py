"""What the servers of a store that fails over say of it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from sidecar.settings.declaration import Store
from tests.support.cluster import cluster, cluster_settings
from tests.support.sidecar import Sidecar, wait_until
from tests.support.store import Server

BACK_WITHIN = 5.0
"""Seconds in which requests are promised to be admitted again."""
BUSY = 30.0
"""Seconds that a loaded machine may take for what is not promised."""


def served(sidecar: Sidecar, key_id: str) -> int:
    """The requests of a key that were served, by the ledger."""
    usage = sidecar.admin("GET", f"/keys/{key_id}/usage?group_by=outcome").json
    return sum(group["totals"]["requests"] for group in usage["groups"] if group["by"] == "ok")


@contextlib.asynccontextmanager
async def clustered(directory: Path) -> AsyncIterator[tuple[list[Server], Store]]:
    async with cluster(directory, replicas=True) as servers:
        yield servers, cluster_settings(servers)


def wait_for_replication(server: Server, line: bytes) -> None:
    wait_until(lambda: line in server.command("INFO", "replication"), within=BUSY, what=f"{line.decode()} of {server.directory.name}")
