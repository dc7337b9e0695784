"""Which stores are accepted, on a real store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sidecar.keys.adoption import Adoption
from sidecar.keys.digest import Pepper
from sidecar.store import names
from sidecar.store.client import Store, StoreNotAdopted
from tests.support.keys import OLDER_PEPPER, PEPPER

STRANGE_PEPPER = Pepper.of(b"s" * 32)


async def judge(store: Store, adoption: Adoption) -> None:
    adoption.check(await store.call(*adoption.question))


async def accepts(store: Store, adoption: Adoption) -> bool:
    try:
        await judge(store, adoption)
    except StoreNotAdopted:
        return False
    return True


async def test_the_first_start_makes_an_epoch_and_remembers_it(store: Store, tmp_path: Path) -> None:
    adoption = Adoption(tmp_path / "data" / "store-epoch", PEPPER)
    assert not await accepts(store, adoption)
    await adoption.establish(store)
    await judge(store, adoption)
    assert (tmp_path / "data" / "store-epoch").stat().st_mode & 0o777 == 0o600
    again = Adoption(tmp_path / "data" / "store-epoch", PEPPER)
    await again.establish(store)
    await judge(store, again)


async def test_another_process_of_the_data_directory_learns_the_epoch(store: Store, tmp_path: Path) -> None:
    worker = Adoption(tmp_path / "store-epoch", PEPPER)
    assert not await accepts(store, worker)
    await Adoption(tmp_path / "store-epoch", PEPPER).establish(store)
    assert await accepts(store, worker)


async def test_replicas_that_start_together_agree(store: Store, tmp_path: Path) -> None:
    replicas = [Adoption(tmp_path / str(number) / "store-epoch", PEPPER) for number in range(8)]
    await asyncio.gather(*(replica.establish(store) for replica in replicas))
    for replica in replicas:
        await judge(store, replica)


async def test_an_emptied_store_is_not_a_store_without_keys(store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    adoption = Adoption(tmp_path / "store-epoch", PEPPER)
    await adoption.establish(store)
    await store.call("FLUSHALL")
    for _ in range(3):
        with pytest.raises(StoreNotAdopted, match="sidecar store adopt"):
            await judge(store, adoption)
    assert len(caplog.records) == 1, "one line, however many requests"
    with pytest.raises(StoreNotAdopted):
        await adoption.establish(store)
    with pytest.raises(StoreNotAdopted):
        await Adoption(tmp_path / "store-epoch", PEPPER).establish(store)


async def test_a_store_that_was_emptied_and_filled_by_another_is_not_ours(store: Store, tmp_path: Path) -> None:
    ours = Adoption(tmp_path / "ours", PEPPER)
    await ours.establish(store)
    await store.call("FLUSHALL")
    await Adoption(tmp_path / "theirs", PEPPER).establish(store)
    assert not await accepts(store, ours)
    with pytest.raises(StoreNotAdopted):
        await ours.establish(store)


async def test_the_operator_adopts_and_running_processes_follow(store: Store, tmp_path: Path) -> None:
    running = Adoption(tmp_path / "store-epoch", PEPPER)
    await running.establish(store)
    await store.call("FLUSHALL")
    assert not await accepts(store, running)
    await Adoption(tmp_path / "store-epoch", PEPPER).adopt(store)
    assert await accepts(store, running)


async def test_another_pepper_is_refused_until_adopted(store: Store, tmp_path: Path) -> None:
    await Adoption(tmp_path / "store-epoch", PEPPER).establish(store)
    strange = Adoption(tmp_path / "store-epoch", STRANGE_PEPPER)
    with pytest.raises(StoreNotAdopted, match="pepper"):
        await strange.establish(store)
    assert not await accepts(store, strange)
    fresh_directory = Adoption(tmp_path / "fresh", STRANGE_PEPPER)
    with pytest.raises(StoreNotAdopted, match="pepper"):
        await fresh_directory.establish(store)
    await strange.adopt(store)
    await judge(store, strange)


async def test_whoever_has_another_pepper_than_the_adopted_one_is_not_ready(store: Store, tmp_path: Path) -> None:
    """It would answer 401 to keys that are made with that one. Going back is another decision of the operator."""
    one, other = Adoption(tmp_path / "one", OLDER_PEPPER), Adoption(tmp_path / "other", STRANGE_PEPPER)
    await one.establish(store)
    await store.call("HSET", names.META, f"salt:{OLDER_PEPPER.id}", "wrapped", f"pepper:{PEPPER.id}", PEPPER.fingerprint)
    for adopted, late in ((other, one), (one, other), (one, other)):
        await adopted.adopt(store)
        await judge(store, adopted)
        assert not await accepts(store, late)
        with pytest.raises(StoreNotAdopted, match="pepper"):
            await late.establish(store)
    assert await store.call("HGET", names.META, f"salt:{OLDER_PEPPER.id}") == b"wrapped"
    assert not await accepts(store, Adoption(tmp_path / "one", PEPPER)), "also where a store has vouched for two"


async def test_a_pepper_that_follows_a_known_one_is_accepted(store: Store, tmp_path: Path) -> None:
    old = Adoption(tmp_path / "store-epoch", OLDER_PEPPER)
    await old.establish(store)
    new = Adoption(tmp_path / "store-epoch", PEPPER, OLDER_PEPPER)
    await new.establish(store)
    await judge(store, new)
    with pytest.raises(StoreNotAdopted):
        await Adoption(tmp_path / "store-epoch", STRANGE_PEPPER, Pepper.of(b"?" * 32)).establish(store)


async def test_a_pepper_that_was_followed_is_another_one(store: Store, tmp_path: Path) -> None:
    """Secrets that have moved are unknown to whoever has only the old one: a replica that was not stopped, a restored data_dir."""
    old = Adoption(tmp_path / "store-epoch", OLDER_PEPPER)
    await old.establish(store)
    await Adoption(tmp_path / "store-epoch", PEPPER, OLDER_PEPPER).establish(store)
    assert not await accepts(store, old)
    for late in (Adoption(tmp_path / "restored", OLDER_PEPPER), Adoption(tmp_path / "another", STRANGE_PEPPER, OLDER_PEPPER)):
        with pytest.raises(StoreNotAdopted, match="pepper"):
            await late.establish(store)
    back = Adoption(tmp_path / "store-epoch", OLDER_PEPPER, PEPPER)
    await back.establish(store)
    await judge(store, back)


async def test_replicas_that_know_both_peppers_serve_beside_each_other(store: Store, tmp_path: Path) -> None:
    """While the peppers are swapped in one replica after the other, those that are yet to come know every key too."""
    one = Adoption(tmp_path / "one", OLDER_PEPPER, PEPPER)
    other = Adoption(tmp_path / "other", PEPPER, OLDER_PEPPER)
    await one.establish(store)
    await judge(store, one)
    for last in (other, one):
        assert last is one or not await accepts(store, other), "nothing is written with a pepper that the store has never heard of"
        await last.establish(store)
        await judge(store, other)
        await judge(store, one)


async def test_a_worker_that_starts_while_the_peppers_change_places_serves_at_once(store: Store, tmp_path: Path) -> None:
    """It finds every key, and writes nothing with its own pepper before the store goes by that."""
    one, other = Adoption(tmp_path / "one", OLDER_PEPPER, PEPPER), Adoption(tmp_path / "other", PEPPER, OLDER_PEPPER)
    await other.establish(store)
    worker, may_write = Adoption(tmp_path / "other", PEPPER, OLDER_PEPPER, only_reads=True), []
    for last in (one, other):
        await last.establish(store)
        await judge(store, worker)
        may_write.append(worker.is_ours)
    assert may_write == [False, True]
    for strange in (
        Adoption(tmp_path / "other", STRANGE_PEPPER, only_reads=True),
        Adoption(tmp_path / "other", OLDER_PEPPER, only_reads=True),
    ):
        assert not await accepts(store, strange)


async def test_a_pepper_that_follows_itself_stays(store: Store, tmp_path: Path) -> None:
    for _ in range(2):
        same = Adoption(tmp_path / "store-epoch", PEPPER, PEPPER)
        await same.establish(store)
        await judge(store, same)


async def test_a_memory_that_cannot_be_read_is_no_first_start(store: Store, tmp_path: Path) -> None:
    (tmp_path / "store-epoch").mkdir()
    adoption = Adoption(tmp_path / "store-epoch", PEPPER)
    with pytest.raises(StoreNotAdopted, match=r"store-epoch cannot be read .*chown"):
        await adoption.establish(store)
    await Adoption(tmp_path / "other", PEPPER).establish(store)
    assert not await accepts(store, adoption)
