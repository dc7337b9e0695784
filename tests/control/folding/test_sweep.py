from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.control.folding.sweep import UNPROVEN_AGE, Sweep
from sidecar.events.spool import SpoolWriter, segments
from sidecar.store import names
from sidecar.store.client import Store, StoreNotAdopted
from tests.control.folding.test_spools import age
from tests.control.support.events import key_id, request
from tests.control.support.folding import Folding, usage_of, write, writer
from tests.support.disk import UNLISTABLE, unlistable, unreadable


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Disk:
    def __init__(self, *, proves: bool) -> None:
        self.proves = proves
        self.asked = 0

    async def durable(self) -> bool:
        self.asked += 1
        return self.proves


def made(tmp_path: Path, store: Store, disk: Disk) -> tuple[Folding, Sweep, Clock]:
    spool = writer(tmp_path / "spool", segment_bytes=2000)
    write(spool, *(request(key_id(number % 3)) for number in range(50)))
    folding = Folding(tmp_path / "spool", store)
    clock = Clock()
    return folding, Sweep(folding.spools, folding.fold, folding.ledger, folding.claims, disk, clock), clock


def left(tmp_path: Path) -> int:
    return len(list((tmp_path / "spool").glob("*.spool")))


async def test_nothing_goes_before_the_store_has_it(tmp_path: Path, store: Store) -> None:
    folding, sweep, _ = made(tmp_path, store, Disk(proves=True))
    await folding.fold.restore()
    folding.fold.count()
    before = left(tmp_path)
    assert await sweep.sweep() == 0
    await folding.run()
    assert await sweep.sweep() == before - 1, "all but the segment that is being written"
    assert left(tmp_path) == 1


async def test_without_proof_segments_stay_for_an_hour(tmp_path: Path, store: Store) -> None:
    folding, sweep, clock = made(tmp_path, store, Disk(proves=False))
    await folding.run()
    before = left(tmp_path)
    assert await sweep.sweep() == 0
    clock.now += UNPROVEN_AGE - 1
    assert await sweep.sweep() == 0
    clock.now += 1
    assert await sweep.sweep() == before - 1


@pytest.mark.parametrize("proves", [True, False])
async def test_what_a_store_lost_meanwhile_is_kept(tmp_path: Path, store: Store, proves: bool) -> None:
    folding, sweep, clock = made(tmp_path, store, Disk(proves=proves))
    await folding.run()
    await sweep.sweep() if not proves else None
    clock.now += UNPROVEN_AGE
    before = left(tmp_path)
    await store.call("FLUSHALL")
    assert await sweep.sweep() == 0
    assert left(tmp_path) == before
    await folding.run()
    assert await sweep.sweep() == before - 1


def finished(tmp_path: Path, store: Store, spool: SpoolWriter) -> tuple[Folding, Sweep, Clock]:
    """What folds and sweeps a spool whose worker has ended."""
    spool.close()
    age(tmp_path / "spool")
    folding, clock = Folding(tmp_path / "spool", store), Clock()
    return folding, Sweep(folding.spools, folding.fold, folding.ledger, folding.claims, Disk(proves=True), clock), clock


async def test_a_finished_spool_goes_whole_and_its_positions_later(tmp_path: Path, store: Store) -> None:
    spool = writer(tmp_path / "spool", segment_bytes=2000)
    write(spool, *(request(key_id(number % 3)) for number in range(50)))
    folding, sweep, clock = finished(tmp_path, store, spool)
    await folding.run()
    await sweep.sweep()
    assert left(tmp_path) == 0
    folding.fold.count()
    assert any(spool.spool_id in shard for shard in await folding.ledger.positions())
    await sweep.sweep()
    clock.now += UNPROVEN_AGE
    await sweep.sweep()
    assert not any(spool.spool_id in shard for shard in await folding.ledger.positions())


async def test_positions_wait_for_the_store_that_has_them(tmp_path: Path, store: Store) -> None:
    spool = writer(tmp_path / "spool")
    write(spool, request(key_id(1)))
    folding, sweep, clock = finished(tmp_path, store, spool)
    await folding.run()
    await sweep.sweep()
    folding.fold.count()
    await sweep.sweep()
    clock.now += UNPROVEN_AGE

    async def refuse() -> None:
        raise StoreNotAdopted("another store")

    allowed, folding.claims.check = folding.claims.check, refuse
    with pytest.raises(StoreNotAdopted):
        await sweep.sweep()
    assert any(await folding.ledger.positions())
    assert folding.claims.gone() == {spool.spool_id}
    folding.claims.check = allowed
    await sweep.sweep()
    assert not any(await folding.ledger.positions())
    assert folding.claims.gone() == set()


async def test_positions_go_though_control_was_restarted_meanwhile(tmp_path: Path, store: Store) -> None:
    directory = tmp_path / "spool"
    for turn in range(5):
        spool = writer(directory)
        write(spool, *(request(key_id(number)) for number in range(60)))
        spool.close()
        age(directory)
        folding = Folding(directory, store)
        clock = Clock()
        sweep = Sweep(folding.spools, folding.fold, folding.ledger, folding.claims, Disk(proves=True), clock)
        await folding.run()
        await sweep.sweep()
        await folding.run()
        clock.now += UNPROVEN_AGE - 10
        await sweep.sweep()
        assert len({field for shard in await folding.ledger.positions() for field in shard}) == 2 * (turn + 1)
    clock.now += UNPROVEN_AGE
    await sweep.sweep()
    assert not any(await folding.ledger.positions())
    assert folding.claims.gone() == set()
    assert await store.call("ZCARD", names.SPOOL_CLAIMS) == 0


async def test_a_store_that_was_away_for_hours_keeps_the_positions_of_what_is_there(tmp_path: Path, store: Store) -> None:
    """Nothing is scanned until the store has answered, and what was not scanned is not gone."""
    folding, sweep, _ = made(tmp_path, store, Disk(proves=False))
    await folding.run()
    restarted = Folding(tmp_path / "spool", store)
    clock = Clock()
    sweep = Sweep(restarted.spools, restarted.fold, restarted.ledger, restarted.claims, Disk(proves=False), clock)
    for _ in range(3):
        await sweep.sweep()
        clock.now += UNPROVEN_AGE
    await restarted.run()
    assert (await usage_of(store).usage(None, None, None, "1h", None)).totals.requests == 50


async def test_another_replicas_spools_are_left_to_it(tmp_path: Path, store: Store) -> None:
    """Replicas share the hash of positions, and not the directory: a spool that is not here may be read elsewhere."""
    spool = writer(tmp_path / "one", segment_bytes=2000)
    write(spool, *(request(key_id(1)) for _ in range(5)))
    one = Folding(tmp_path / "one", store)
    await one.run()
    (tmp_path / "other").mkdir()
    other = Folding(tmp_path / "other", store, instance="i2")
    clock = Clock()
    sweep = Sweep(other.spools, other.fold, other.ledger, other.claims, Disk(proves=True), clock)
    for _ in range(2):
        await other.run()
        await sweep.sweep()
        clock.now += UNPROVEN_AGE
    assert any(spool.spool_id in shard for shard in await one.ledger.positions())
    write(spool, *(request(key_id(1)) for _ in range(3)))
    await one.run()
    await one.run()
    assert (await usage_of(store).usage(None, None, None, "1h", None)).totals.requests == 8


@pytest.mark.parametrize("reason", UNLISTABLE)
async def test_a_directory_that_cannot_be_read_is_cleared_up_later(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture, reason: int
) -> None:
    spool = writer(tmp_path / "spool")
    write(spool, request(key_id(1)))
    folding, sweep, clock = finished(tmp_path, store, spool)
    await folding.run()
    await sweep.quietly()
    folding.fold.count()
    assert left(tmp_path) == 0 and folding.claims.gone() == {spool.spool_id}
    for _ in range(2):
        caplog.clear()
        with unlistable(reason):
            for _ in range(3):
                await sweep.quietly()
        assert caplog.text.count("cannot be cleared away") == 1 and str(tmp_path / "spool") in caplog.text
        await sweep.quietly()
    clock.now += UNPROVEN_AGE
    await sweep.quietly()
    assert folding.claims.gone() == set() and not any(await folding.ledger.positions())


async def test_a_file_whose_size_cannot_be_told_keeps_no_other_from_going(tmp_path: Path, store: Store) -> None:
    spools = [writer(tmp_path / "spool") for _ in range(3)]
    for spool in spools:
        write(spool, request(key_id(1)))
        spool.close()
    folding, sweep, _ = finished(tmp_path, store, spools[0])
    await folding.run()
    first, *_ = segments(tmp_path / "spool")
    with unreadable(first.path):
        await sweep.quietly()
    assert [segment.path for segment in segments(tmp_path / "spool")] == [first.path]
    await sweep.quietly()
    assert left(tmp_path) == 0
