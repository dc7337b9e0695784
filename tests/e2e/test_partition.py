"""A primary of the store stands still under load, is replaced, and comes back with what it knew: nothing that it knows counts."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sidecar.settings.declaration import Store
from tests.support.cluster import watched
from tests.support.failover import BACK_WITHIN, BUSY, clustered, served, wait_for_replication
from tests.support.hub import ACCESS_KEY, HubProcess
from tests.support.load import Load
from tests.support.sidecar import Sidecar, wait_until
from tests.support.store import Server

DOOMED = 12
"""Keys that are revoked while the primary stands still: enough for some of them to live there."""
REVOKED_WITHIN = 2.0


@pytest.mark.parametrize(("arranged", "replica"), [(clustered, 3), (watched, 1)])
async def test_a_primary_that_comes_back_with_stale_keys(
    arranged: Callable[[Path], contextlib.AbstractAsyncContextManager[tuple[list[Server], Store]]],
    replica: int,
    hub: HubProcess,
    tmp_path: Path,
) -> None:
    """The first server is a primary, `replica` the place of its replica."""
    async with arranged(tmp_path) as (servers, settings):
        sidecar = Sidecar(tmp_path, hub.url, ACCESS_KEY, store__url=settings.url.reveal(), proxy__workers="2")
        await asyncio.to_thread(sidecar.start)
        try:
            await asyncio.to_thread(_parted, sidecar, hub, servers[0], servers[replica])
        finally:
            servers[0].thaw()
            await asyncio.to_thread(sidecar.stop)


def _parted(sidecar: Sidecar, hub: HubProcess, primary: Server, replica: Server) -> None:
    hub.clear()
    free_id, free = sidecar.create_key(name="unlimited")
    limited_id, limited = sidecar.create_key(name="limited", limits={"rpm": 1_000_000})
    doomed = dict(sidecar.create_key(name=f"doomed {number}") for number in range(DOOMED))
    with Load(sidecar, free) as frees, Load(sidecar, limited) as limiteds, Load(sidecar, *doomed.values(), threads=4) as dying:

        def goes_on(refused: int = 0) -> None:
            before = frees.count(200), limiteds.count(200), dying.count(401)
            wait_until(
                lambda: (
                    frees.count(200) > before[0] + 20 and limiteds.count(200) > before[1] + 20 and dying.count(401) >= before[2] + refused
                ),
                within=BUSY,
                what="admission",
            )

        goes_on()
        primary.freeze()
        wait_for_replication(replica, b"role:master")
        with ThreadPoolExecutor(DOOMED) as pool:
            # Each waits a while for a replica, which there is none of just now.
            revoked = dict(zip(doomed.values(), pool.map(lambda key_id: _revoke(sidecar, key_id), doomed), strict=True))
        goes_on(refused=3 * DOOMED)
        primary.thaw()
        # It takes itself for a primary for a while yet, and answers what it was asked before.
        goes_on(refused=8 * DOOMED)
    for answer in dying.answers:
        begun, told = revoked[answer.secret]
        assert answer.status != 200 or answer.asked < told + REVOKED_WITHIN, "a revocation was undone"
        assert answer.status != 401 or answer.came > begun, "a good key was refused"
    for load in (frees, limiteds):
        assert load.statuses() <= {200, 503}, load.statuses()
        assert load.longest_gap(200) < BACK_WITHIN
    assert dying.statuses() <= {200, 401, 503}
    completed = sum(request["complete"] for request in hub.requests())
    total = dying.count(200)
    for key_id, load in ((free_id, frees), (limited_id, limiteds)):
        wait_until(lambda: served(sidecar, key_id) >= load.count(200), within=BUSY, what="the count")  # noqa: B023
        total += served(sidecar, key_id)
    assert total <= completed, "some use was counted twice"


def _revoke(sidecar: Sidecar, key_id: str) -> tuple[float, float]:
    """Revoke the key, as often as it takes; when that began and when it was told to be done (monotonic seconds)."""
    begun = time.monotonic()
    wait_until(lambda: sidecar.admin("POST", f"/keys/{key_id}/revoke").status == 200, within=BUSY, what="the revocation")
    return begun, time.monotonic()
