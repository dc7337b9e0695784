"""Positions in the store go when nobody can read their spool again, and not before."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.crc import key_slot

from sidecar.control.folding.claims import CLAIM_EVERY, FILE, KEPT_TURNS
from sidecar.store import names
from sidecar.store.client import Store, StoreNotAdopted, StoreUnavailable, connect
from tests.control.support.events import key_id, request
from tests.control.support.folding import Folding, usage_of, write, writer
from tests.support.cluster import cluster, cluster_settings


async def fold(directory: Path, store: Store, events: int) -> Folding:
    """A replica of its own that has brought so many events into the store; its worker goes on."""
    spool = writer(directory)
    write(spool, *(request(key_id(number)) for number in range(events)))
    folding = Folding(directory, store, instance=directory.name)
    await folding.run()
    return folding


async def pass_turns(store: Store, folding: Folding, count: int = 1) -> None:
    """So much time in which only this replica works on the store."""
    await store.call("HINCRBY", names.SPOOL_TURN, "number", count - 1)
    await store.call("HSET", names.SPOOL_TURN, "began", 0)
    folding.now += CLAIM_EVERY
    await folding.fold.verify()
    await folding.claims.drop_lost()


async def spools(store: Store) -> set[str]:
    """The spools that have positions, in whichever shard."""
    found: set[str] = set()
    for shard in range(names.SHARDS):
        found |= {field.decode().partition(":")[0] for field in await store.call("HKEYS", names.positions(shard))}
    return found


async def total(store: Store) -> float:
    return (await usage_of(store).usage(None, None, None, "1h", None)).totals.requests


def ids(folding: Folding) -> set[str]:
    return set(folding.spools.ids)


async def outlive(tmp_path: Path, store: Store) -> None:
    lost, living = await fold(tmp_path / "lost", store, 60), await fold(tmp_path / "living", store, 60)
    shutil.rmtree(tmp_path / "lost")
    await pass_turns(store, living, KEPT_TURNS - 1)
    assert await spools(store) == ids(lost) | ids(living)
    await pass_turns(store, living)
    assert await spools(store) == ids(living)
    assert await store.call("ZRANGE", names.SPOOL_CLAIMS, 0, -1) == [spool_id.encode() for spool_id in ids(living)]
    await living.run()
    assert await total(store) == 120


async def test_those_of_a_lost_replica_go_after_a_month(tmp_path: Path, store: Store) -> None:
    await outlive(tmp_path, store)


async def test_another_fleet_s_store_is_left_alone(tmp_path: Path, store: Store) -> None:
    """It is younger, so that by the turn of the own one all of its claims are old."""
    await store.call("HSET", names.SPOOL_TURN, "number", 2 * KEPT_TURNS)
    ours = await fold(tmp_path / "ours", store, 1)
    await store.call("FLUSHALL")
    theirs = await fold(tmp_path / "theirs", store, 60)

    async def refuse() -> None:
        raise StoreNotAdopted("another store")

    allowed, ours.claims.check = ours.claims.check, refuse
    with pytest.raises(StoreNotAdopted):
        await ours.claims.drop_lost()
    assert await spools(store) == ids(theirs)
    # Adopted meanwhile, between two claims.
    ours.claims.check = allowed
    await ours.claims.drop_lost()
    assert await spools(store) == ids(theirs)
    assert await store.call("ZRANGE", names.SPOOL_CLAIMS, 0, -1, "WITHSCORES") == [[spool_id.encode(), 1.0] for spool_id in ids(theirs)]
    await theirs.fold.verify()
    await theirs.run()
    assert await total(store) == 60


def test_claims_are_where_the_identity_of_the_store_is() -> None:
    """On a Cluster they are no further part without which nothing can be brought into the store."""
    assert key_slot(names.SPOOL_CLAIMS.encode()) == key_slot(names.SPOOL_TURN.encode()) == key_slot(names.META.encode())


@pytest.fixture
async def clustered(tmp_path: Path) -> AsyncIterator[Store]:
    async with cluster(tmp_path) as servers:
        store = await connect(cluster_settings(servers), tmp_path, timeout=2.0)
        yield store
        await store.close()


async def test_those_of_a_lost_replica_go_from_every_server_of_a_cluster(tmp_path: Path, clustered: Store) -> None:
    await outlive(tmp_path, clustered)


async def test_what_a_replica_finds_when_it_comes_back_after_months_is_not_counted_again(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "away"
    spool = writer(directory)
    write(spool, *(request(key_id(number)) for number in range(60)))
    away = Folding(directory, store, instance="away")
    await away.run()
    living = await fold(tmp_path / "living", store, 1)
    # What a new worker writes before the store is reached for the first time was never counted.
    never_seen = writer(directory)
    write(never_seen, *(request(key_id(number)) for number in range(7)))
    await pass_turns(store, living, KEPT_TURNS)
    assert await spools(store) == ids(living)
    back = Folding(directory, store, instance="away")
    await back.run()
    assert await total(store) == 60 + 1 + 7
    assert "what its spools (1) of that time still hold is taken for counted" in caplog.text
    # And whoever kept running meanwhile, without the store, goes on behind that.
    away.now += CLAIM_EVERY
    write(spool, *(request(key_id(number)) for number in range(5)))
    await away.fold.verify()
    await away.run()
    assert await total(store) == 60 + 1 + 7 + 5


async def test_a_replica_that_kept_running_without_the_store_counts_nothing_again(tmp_path: Path, store: Store) -> None:
    cut_off, living = await fold(tmp_path / "cut off", store, 60), await fold(tmp_path / "living", store, 1)
    await pass_turns(store, living, KEPT_TURNS)
    assert await spools(store) == ids(living)
    cut_off.now += CLAIM_EVERY * KEPT_TURNS
    await cut_off.fold.verify()
    await cut_off.run()
    assert await total(store) == 61


async def test_a_replica_that_is_back_within_the_month_loses_nothing(tmp_path: Path, store: Store) -> None:
    away, living = await fold(tmp_path / "away", store, 60), await fold(tmp_path / "living", store, 1)
    await pass_turns(store, living, KEPT_TURNS // 2)
    spool = writer(tmp_path / "away")
    write(spool, *(request(key_id(number)) for number in range(5)))
    await Folding(tmp_path / "away", store, instance="away").run()
    await pass_turns(store, living, KEPT_TURNS // 2 + 1)
    assert await spools(store) >= ids(away)
    assert await total(store) == 66


async def test_an_older_version_claims_nothing_and_is_seen_at_work(tmp_path: Path, store: Store) -> None:
    living = await fold(tmp_path / "living", store, 1)
    await store.call("HSET", names.positions(4), "fedcba9876543210:details", 7)
    for turn in range(10):
        await store.call("HSET", names.positions(3), "0123456789abcdef", turn)
        await pass_turns(store, living, KEPT_TURNS // 5)
        assert "0123456789abcdef" in await spools(store)
    assert "fedcba9876543210" not in await spools(store)


async def test_more_lost_spools_than_go_into_one_command(tmp_path: Path, store: Store) -> None:
    living = await fold(tmp_path / "living", store, 1)
    for start in range(0, 1200, 100):
        await store.call("HSET", names.positions(3), *(part for number in range(start, start + 100) for part in (f"{number:016x}", 5)))
    await pass_turns(store, living)
    assert await store.call("ZCARD", names.SPOOL_CLAIMS) == 1201
    await pass_turns(store, living, KEPT_TURNS)
    assert await spools(store) == ids(living)


async def test_a_turn_is_the_same_for_all(tmp_path: Path, store: Store) -> None:
    replicas = [await fold(tmp_path / name, store, 1) for name in ("one", "other")]
    for _ in range(3):
        for replica in replicas:
            replica.now += CLAIM_EVERY
            await replica.claims.guard()
    assert await store.call("HGET", names.SPOOL_TURN, "number") == b"1", "its time is the store's"


async def test_a_store_that_is_full_gives_the_counts_of_earlier_runs(tmp_path: Path, store: Store) -> None:
    one = await fold(tmp_path / "one", store, 60)
    write(writer(tmp_path / "one"), request(key_id(1)))
    await store.call("CONFIG", "SET", "maxmemory", 1)
    again = Folding(tmp_path / "one", store, instance="one")
    await again.fold.restore()
    assert again.requests(key_id(1)) == one.requests(key_id(1)) == 1
    again.fold.count()
    with pytest.raises(StoreUnavailable):
        await again.apply()
    await store.call("CONFIG", "SET", "maxmemory", 0)
    await again.run()
    assert await total(store) == 61


async def test_a_store_that_knew_less_gets_everything_again(tmp_path: Path, store: Store) -> None:
    directory = tmp_path / "one"
    one = await fold(directory, store, 60)
    await pass_turns(store, one, 5 * KEPT_TURNS)
    await store.call("FLUSHALL")
    await Folding(directory, store).run()
    assert await total(store) == 60


@pytest.mark.parametrize("found", [b"", b"[1]", b"\xff", b'[7,["0123456789abcdef"]]'])
async def test_a_note_that_says_nothing_is_no_reason_to_stop(tmp_path: Path, store: Store, found: bytes) -> None:
    spool = writer(tmp_path / "one")
    write(spool, request(key_id(1)))
    (tmp_path / "one" / FILE).write_bytes(found)
    folding = Folding(tmp_path / "one", store)
    await folding.run()
    assert await total(store) == 1


async def test_use_is_counted_where_the_note_cannot_be_written(tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    spool = writer(tmp_path / "one")
    write(spool, request(key_id(1)))
    folding = Folding(tmp_path / "one", store)
    (tmp_path / "one" / FILE).mkdir()
    await folding.run()
    assert await total(store) == 1
    assert "claims cannot be written" in caplog.text
