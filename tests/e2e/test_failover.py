"""A primary of the store dies under load: nothing is wrongly admitted, wrongly refused, lost, doubled or undone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.settings.declaration import Store
from tests.support.cluster import watched
from tests.support.failover import BACK_WITHIN, BUSY, clustered, served, wait_for_replication
from tests.support.hub import ACCESS_KEY, HubProcess
from tests.support.load import Load
from tests.support.sidecar import Sidecar, wait_until
from tests.support.store import Server


def kill_primaries_of_a_cluster(servers: list[Server], check: Callable[[], None]) -> None:
    """One primary after the other; each comes back as a replica before the next goes."""
    for primary, replica in zip(servers[:3], servers[3:], strict=True):
        primary.kill()
        wait_for_replication(replica, b"role:master")
        check()
        primary.start()
        wait_for_replication(replica, b"connected_slaves:1")


def kill_the_master_of_sentinels(servers: list[Server], check: Callable[[], None]) -> None:
    servers[0].kill()
    wait_for_replication(servers[1], b"role:master")
    check()


@pytest.mark.parametrize(("arranged", "kill"), [(clustered, kill_primaries_of_a_cluster), (watched, kill_the_master_of_sentinels)])
async def test_killing_primaries_under_load(
    arranged: Callable[[Path], contextlib.AbstractAsyncContextManager[tuple[list[Server], Store]]],
    kill: Callable[[list[Server], Callable[[], None]], None],
    hub: HubProcess,
    tmp_path: Path,
) -> None:
    async with arranged(tmp_path) as (servers, settings):
        sidecar = Sidecar(tmp_path, hub.url, ACCESS_KEY, store__url=settings.url.reveal(), proxy__workers="2")
        await asyncio.to_thread(sidecar.start)
        try:
            await asyncio.to_thread(_under_load, sidecar, hub, lambda check: kill(servers, check))
        finally:
            await asyncio.to_thread(sidecar.stop)


def _under_load(sidecar: Sidecar, hub: HubProcess, kill: Callable[[Callable[[], None]], None]) -> None:
    hub.clear()
    free_id, free = sidecar.create_key(name="unlimited")
    limited_id, limited = sidecar.create_key(name="limited", limits={"rpm": 1_000_000})
    small_id, small = sidecar.create_key(name="small", limits={"rpm": 5})
    dead_id, dead = sidecar.create_key(name="revoked")
    assert sidecar.admin("POST", f"/keys/{dead_id}/revoke").json["durable"] is True
    with Load(sidecar, free) as frees, Load(sidecar, limited) as limiteds, Load(sidecar, dead) as deads, Load(sidecar, small) as smalls:

        def served_again() -> None:
            before = frees.count(200), limiteds.count(200), deads.count(401)
            wait_until(
                lambda: frees.count(200) > before[0] + 20 and limiteds.count(200) > before[1] + 20 and deads.count(401) > before[2] + 5,
                within=BUSY,
                what="admission after a failover",
            )

        served_again()
        kill(served_again)
        served_again()
    for load in (frees, limiteds):
        assert load.statuses() <= {200, 503}, load.statuses()
        assert load.longest_gap(200) < BACK_WITHIN
    assert deads.statuses() <= {401, 503}, "a revocation was undone"
    assert smalls.statuses() <= {200, 429, 503}
    minutes = (smalls.answers[-1].came - smalls.answers[0].came) / 60
    assert smalls.count(200) <= 5 * (1 + int(minutes)) + 5, "a limit was forgotten"
    completed = sum(request["complete"] for request in hub.requests())
    total = 0
    for key_id, load in ((free_id, frees), (limited_id, limiteds), (small_id, smalls)):
        wait_until(lambda: served(sidecar, key_id) >= load.count(200), within=BUSY, what="the count")  # noqa: B023
        total += served(sidecar, key_id)
    assert total <= completed, "some use was counted twice"
