"""A Redis Cluster of real processes: everything works, a part dies, a replica takes over."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from redis.crc import key_slot

from sidecar.keys.listing import Query
from sidecar.store import names
from sidecar.store.client import Script
from tests.support.cluster import SLOTS, cluster, cluster_settings, leased, opened, writes
from tests.support.keys import open_keys, shape
from tests.support.store import Server, until

ECHO = Script("echo", "return {KEYS[1], ARGV[1]}")


async def test_everything_works_on_a_cluster(tmp_path: Path) -> None:
    async with cluster(tmp_path) as servers, opened(cluster_settings(servers), tmp_path) as store:
        assert await store.pipeline([("SET", f"k{n}", n) for n in range(50)]) == [b"OK"] * 50
        assert await store.pipeline([("GET", f"k{n}") for n in range(50)]) == [str(n).encode() for n in range(50)]
        assert await store.run_many([(ECHO, [f"k{n}"], [n]) for n in range(50)]) == [[f"k{n}".encode(), str(n).encode()] for n in range(50)]
        assert await store.call("HSET", "h", "f", "v") == 1
        assert await store.call("HGETALL", "h") == {b"f": b"v"}
        assert await store.durable()
        keys = await open_keys(store, tmp_path)
        async with leased(store, keys) as (lease, changes):
            made = [await keys.repository.create(shape(f"app{number}")) for number in range(12)]
            await until(lambda: {issued.key.id for issued in made} <= set(changes))
            for issued in made:
                assert await keys.repository.identify(issued.token.encode()) is not None
            assert len((await keys.repository.list(Query("app1"))).keys) == 3
            revoked = await keys.repository.revoke(made[0].key.id)
            assert revoked.durable
            await until(lambda: changes.count(made[0].key.id) == 2)
            assert lease.age(time.monotonic()) < 1.0


async def test_a_dead_part_of_a_cluster_is_an_outage_of_its_keys_only(tmp_path: Path) -> None:
    async with cluster(tmp_path) as servers, opened(cluster_settings(servers), tmp_path) as store:
        for server in servers:
            server.command("CONFIG", "SET", "cluster-require-full-coverage", "no")
        homes = {index: next(f"k{n}" for n in range(1000) if _owner(servers, f"k{n}") == index) for index in range(3)}
        for name in homes.values():
            assert await writes(store, name)
        servers[1].freeze()
        assert not await writes(store, homes[1])
        # A deadline of 0.25 s for each would make 25 s.
        async with asyncio.timeout(10):
            for _ in range(100):
                assert not await writes(store, homes[1])
        assert await writes(store, homes[0])
        servers[1].thaw()
        await until(lambda: writes(store, homes[1]), within=3.0)


def _owner(servers: list[Server], name: str) -> int:
    slot = int(servers[0].command("CLUSTER", "KEYSLOT", name)[1:-2])
    return slot * len(servers) // 16384


async def test_a_cluster_fails_over_and_the_lease_follows(tmp_path: Path) -> None:
    async with cluster(tmp_path, replicas=True) as servers, opened(cluster_settings(servers), tmp_path) as store:
        keys = await open_keys(store, tmp_path)
        issued = await keys.repository.create(shape())
        async with leased(store, keys) as (lease, changes):
            owner = _owner(servers[:3], names.key(issued.key.id))
            servers[owner].kill()
            await until(lambda: writes(store, names.key(issued.key.id) + ":probe"), within=15.0)
            await until(lambda: changes.count(None) >= 2 and lease.fresh(time.monotonic()), within=10.0)
            del changes[:]
            await keys.repository.revoke(issued.key.id)
            await until(lambda: issued.key.id in changes)


async def test_a_server_with_a_single_slot_reports_its_changes_too(tmp_path: Path) -> None:
    """As one has when slots begin to move to it."""
    async with cluster(tmp_path) as servers:
        low = SLOTS * 2 // 3
        taken = {key_slot(names.mark(shard).encode()) for shard in range(SLOTS)}
        kept = next(slot for slot in range(low + 1, SLOTS) if slot not in taken)
        moved = [str(bound) for bound in (low, kept - 1, kept + 1, SLOTS - 1)]

        def is_taken() -> bool:
            """What one server says of its slots may undo what another was just told: first the owner, and once more if need be."""
            if servers[0].command("CLUSTER", "ADDSLOTSRANGE", *moved).startswith(b"+OK"):
                return servers[0].command("CLUSTER", "BUMPEPOCH").startswith(b"+")
            for server in reversed(servers):
                server.command("CLUSTER", "DELSLOTSRANGE", *moved)
            return False

        await until(is_taken, within=15)
        await until(lambda: all(b"cluster_slots_assigned:16384" in server.command("CLUSTER", "INFO") for server in servers), within=15)
        key_id = next(f"key_{number}" for number in range(1_000_000) if key_slot(names.key(f"key_{number}").encode()) == kept)
        async with opened(cluster_settings(servers), tmp_path) as store:
            keys = await open_keys(store, tmp_path)
            async with leased(store, keys) as (_, changes):
                await store.call("HSET", names.key(key_id), "record", "changed")
                await until(lambda: key_id in changes)
