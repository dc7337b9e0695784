"""Whether what was written would survive: a disk that has it, a replica that has it, both where there are both.

WAIT and WAITAOF speak of the writes of one connection, so a mark is written first: it stands behind
everything that any connection wrote before it.
"""

from __future__ import annotations

from typing import Any

from sidecar.store.endpoint import Endpoint
from sidecar.store.errors import StoreUnavailable
from sidecar.store.link import Link

WAIT_FOR = 1.5
"""Seconds; `appendfsync everysec` may take one."""


async def is_durable(endpoint: Endpoint) -> bool:
    """Wait until `endpoint` has everything written so far on disk and on a replica; False when it cannot say so."""
    try:
        link = await endpoint.open()
        try:
            return await _ask(link, endpoint.mark)
        finally:
            await link.close()
    except StoreUnavailable:
        return False


async def _ask(link: Link, mark: str) -> bool:
    milliseconds = int(WAIT_FOR * 1000)
    wrote, role, disk = await link.exchange([("SET", mark, "1"), ("ROLE",), ("WAITAOF", 1, 0, milliseconds)], WAIT_FOR + 1)
    if isinstance(wrote, Exception) or isinstance(role, Exception) or role[0] != b"master":
        return False
    proofs = []
    if not isinstance(disk, Exception):
        proofs.append(disk[0] >= 1)
    elif await _syncs_always(link):
        proofs.append(True)
    if role[2]:
        (replicas,) = await link.exchange([("WAIT", 1, milliseconds)], WAIT_FOR + 1)
        proofs.append(not isinstance(replicas, Exception) and replicas >= 1)
    return bool(proofs) and all(proofs)


async def _syncs_always(link: Link) -> bool:
    # Servers before Redis 7.2 have no WAITAOF; with `always` each answer already stands for the disk.
    (found,) = await link.exchange([("CONFIG", "GET", "append*")], 1.0)
    values: dict[bytes, Any] = found if isinstance(found, dict) else {}
    return values.get(b"appendonly") == b"yes" and values.get(b"appendfsync") == b"always"
