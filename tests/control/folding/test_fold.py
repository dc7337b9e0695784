from __future__ import annotations

import errno
from pathlib import Path

import pytest

from sidecar.control.folding.ledger import DETAILS, LANES, NOW, TOTALS_KEPT
from sidecar.control.folding.loop import FoldLoop
from sidecar.control.folding.read_failures import UNREADABLE_EVERY
from sidecar.control.folding.spools import Spools
from sidecar.control.totals.sums import Sums
from sidecar.control.usage.readings import hours_of, requests
from sidecar.events.record import Interim, Tokens
from sidecar.hubs.usage.tally import LARGEST
from sidecar.keys.use import read_uses
from sidecar.store import names
from sidecar.store.client import Store, StoreUnavailable
from sidecar.store.names import SHARDS
from tests.control.support.events import denied, key_id, request
from tests.control.support.folding import Folding, groups_in, usage_of, write, writer
from tests.support.disk import UNLISTABLE, unlistable
from tests.support.store import Server

A, B = key_id(1), key_id(2)


async def stored(store: Store, key: str | None = None) -> int:
    return (await usage_of(store).usage(key, None, None, "1h", None)).totals.requests


class Seen:
    """How much an observer was shown, and which spools it was told to be gone."""

    def __init__(self) -> None:
        self.records = 0
        self.retired: list[str] = []

    def observe(self, spool_id: str, records: list[bytes], sums: Sums) -> None:
        self.records += len(records)

    def retire(self, spool_id: str) -> None:
        self.retired.append(spool_id)


async def test_counts_and_applies_the_same(tmp_path: Path, store: Store) -> None:
    spool = writer(tmp_path / "spool")
    write(spool, *(request(A) for _ in range(5)), request(B, tokens=Tokens(1, 2)), denied(A, "api_key_revoked"), denied())
    folding = Folding(tmp_path / "spool", store)
    await folding.run()
    assert folding.counts.keys[A]["r"] == {"ok\x1f": 5, "denied\x1fapi_key_revoked": 1}
    assert folding.counts.keys[A]["t"] == [60, 150, 0, 0]
    assert folding.counts.families["failures"] == {"invalid_api_key": 1}
    assert (await stored(store, A), await stored(store, B), await stored(store)) == (6, 1, 7)
    assert folding.fold.backlog() == 0


async def test_a_restart_goes_on_from_where_it_was(tmp_path: Path, store: Store) -> None:
    spool = writer(tmp_path / "spool")
    write(spool, *(request(A) for _ in range(5)))
    await Folding(tmp_path / "spool", store).run()
    write(spool, *(request(A) for _ in range(3)), denied())
    second = Folding(tmp_path / "spool", store)
    await second.run()
    assert second.requests(A) == 8
    assert second.counts.families["failures"] == {"invalid_api_key": 1}
    assert second.counts.keys[A]["d"][1] == 8
    assert await stored(store, A) == 8


@pytest.mark.parametrize("reason", UNLISTABLE)
async def test_a_directory_that_could_not_be_read_for_a_moment_holds_what_it_held(tmp_path: Path, store: Store, reason: int) -> None:
    write(writer(tmp_path / "spool"), *(request(A) for _ in range(5)))
    observer = Seen()
    folding = Folding(tmp_path / "spool", store, observers=[observer])
    loop = FoldLoop(folding.fold)
    await loop.turn()
    before = set(folding.spools.ids)
    with unlistable(reason):
        assert await loop.turn() == UNREADABLE_EVERY
        assert not await loop.finish(0.05)
    await loop.turn()
    assert set(folding.spools.ids) == before
    assert (folding.requests(A), observer.records, observer.retired) == (5, 5, [])
    assert await loop.finish(5.0) and await stored(store) == 5


async def test_the_end_is_where_it_was_though_workers_go_on_writing(tmp_path: Path, store: Store) -> None:
    """As at a reload: a busy worker is never caught up with, and what it writes later is for the next process."""
    spool = writer(tmp_path / "spool")
    write(spool, *(request(A) for _ in range(5)))
    folding = Folding(tmp_path / "spool", store)
    loop = FoldLoop(folding.fold, folding.spools.ends)
    turn = loop.turn

    async def busy() -> float:
        every = await turn()
        write(spool, request(A))
        return every

    loop.turn = busy  # type: ignore[method-assign]
    assert await loop.finish(2.0)
    assert 5 <= await stored(store) <= 8


async def test_a_spool_that_is_not_known_when_the_end_begins_is_read_all_the_same(tmp_path: Path, store: Store) -> None:
    folding = Folding(tmp_path / "spool", store)
    write(writer(tmp_path / "spool"), *(request(A) for _ in range(5)))
    loop = FoldLoop(folding.fold, folding.spools.ends)
    failures = [OSError(errno.EMFILE, "Too many open files", "/data/spool")]

    def unlistable_at_first() -> list[str]:
        if failures:
            raise failures.pop()
        return Spools.scan(folding.spools)

    folding.spools.scan = unlistable_at_first  # type: ignore[method-assign]
    assert await loop.finish(5.0) and not failures
    assert await stored(store) == 5


async def test_two_folds_over_one_spool_count_nothing_twice(tmp_path: Path, store: Store) -> None:
    spool = writer(tmp_path / "spool")
    folds = [Folding(tmp_path / "spool", store) for _ in range(2)]
    for folding in folds:
        await folding.fold.restore()
    for round_ in range(10):
        write(spool, *(request(key_id(number)) for number in range(round_ + 1)))
        for folding in folds if round_ % 2 else reversed(folds):
            folding.fold.count()
            await folding.apply()
    for folding in folds:
        await folding.run()
        assert sum(folding.requests(key_id(number)) for number in range(10)) == 55
    assert await stored(store) == 55


async def test_a_hub_that_says_the_largest_figures_all_the_time_is_counted(tmp_path: Path, store: Store) -> None:
    spool = writer(tmp_path / "spool")
    most = LARGEST - 1
    write(spool, *[request(A, time=1_700_000_000.0, tokens=Tokens(most, most, most, most), quota_period="2026-11/req/10")] * 2100)
    folding = Folding(tmp_path / "spool", store)
    await folding.run()
    assert folding.counts.keys[A]["t"] == [2100 * most] * 4
    assert await store.call("HGET", names.limit(A, "counts"), "2026-11:tokens") == b"%d" % (3 * 2100 * most)


async def test_a_lost_reply_is_not_applied_again(tmp_path: Path, store: Store) -> None:
    spool = writer(tmp_path / "spool")
    write(spool, *(request(key_id(number)) for number in range(40)))
    folding = Folding(tmp_path / "spool", store)
    await folding.fold.restore()
    folding.fold.count()
    apply = folding.ledger.apply

    async def apply_and_lose(entries: list) -> list:
        return [StoreUnavailable("lost") for _ in await apply(entries)]

    folding.ledger.apply = apply_and_lose  # type: ignore[method-assign, assignment]
    with pytest.raises(StoreUnavailable):
        await folding.apply()
    folding.ledger.apply = apply  # type: ignore[method-assign]
    write(spool, request(A))
    await folding.run()
    assert await stored(store) == 41
    assert folding.requests(A) == 2


async def test_a_store_that_fell_back_is_brought_up_to_date(tmp_path: Path, store: Store, valkey: Server) -> None:
    spool = writer(tmp_path / "spool")
    folding = Folding(tmp_path / "spool", store)
    write(spool, *(request(key_id(number % 7)) for number in range(50)))
    await folding.run()
    # What an append-only file that is synced each second loses: the last writes, positions and sums together.
    saved = {}
    for name in await store.call("KEYS", "*"):
        saved[name] = await store.call("DUMP", name)
    write(spool, *(request(key_id(number % 7)) for number in range(30)))
    await folding.run()
    assert await stored(store) == 80
    await store.call("FLUSHALL")
    for name, dump in saved.items():
        await store.call("RESTORE", name, 0, dump)
    assert await stored(store) == 50
    await folding.fold.verify()
    await folding.run()
    assert await stored(store) == 80
    assert sum(folding.requests(key_id(number)) for number in range(7)) == 80
    again = Folding(tmp_path / "spool", store)
    await again.run()
    assert sum(again.requests(key_id(number)) for number in range(7)) == 80


async def test_totals_of_a_shard_without_traffic_outlive_it(tmp_path: Path, store: Store) -> None:
    """Else a key that rests for a month counts on from less than it had after the next restart."""
    write(writer(tmp_path / "spool"), *(request(A) for _ in range(5)))
    folding = Folding(tmp_path / "spool", store)
    await folding.run()
    await store.call("EXPIRE", totals := names.totals(names.shard_of(A), "i1"), 60)
    await folding.fold.verify()
    assert await store.call("TTL", totals) > TOTALS_KEPT - 60


async def test_metrics_go_on_while_the_store_is_away(tmp_path: Path, store: Store, valkey: Server) -> None:
    spool = writer(tmp_path / "spool")
    folding = Folding(tmp_path / "spool", store)
    write(spool, request(A))
    await folding.run()
    valkey.kill()
    for _ in range(3):
        write(spool, request(A), request(B))
        folding.fold.count()
        with pytest.raises(StoreUnavailable):
            await folding.apply()
    assert (folding.requests(A), folding.requests(B)) == (4, 3)
    assert folding.fold.backlog() > 0


async def test_interim_bytes_count_once(tmp_path: Path, store: Store) -> None:
    spool = writer(tmp_path / "spool")
    write(
        spool,
        Interim(time=request().time, request_id="r", key_id=A, bytes_in=100, bytes_out=1000),
        request(A, request_id="r", bytes_in=150, bytes_out=2500, interim_in=100, interim_out=1000),
    )
    folding = Folding(tmp_path / "spool", store)
    await folding.run()
    assert folding.counts.keys[A]["b"] == [150, 2500]
    report = await usage_of(store).usage(A, None, None, "1h", None)
    assert (report.totals.requests, report.totals.bytes_in, report.totals.bytes_out) == (1, 150, 2500)


async def test_an_idle_fold_sends_nothing(tmp_path: Path, store: Store) -> None:
    spool = writer(tmp_path / "spool")
    write(spool, request(A))
    folding = Folding(tmp_path / "spool", store)
    await folding.run()
    sent = []
    folding.ledger.apply = sent.append  # type: ignore[method-assign, assignment]
    folding.fold.count()
    await folding.apply()
    assert sent == []
    assert len(await folding.ledger.positions()) == SHARDS


async def test_counted_keys_keep_their_places_over_a_restart(tmp_path: Path, store: Store) -> None:
    spool = writer(tmp_path / "spool")
    write(spool, *(request(key_id(number)) for number in range(5)))
    first = Folding(tmp_path / "spool", store, max_keys=3)
    await first.run()
    assert sum(first.requests(key_id(number)) for number in range(5)) == 3
    assert first.requests("_overflow") == 2
    second = Folding(tmp_path / "spool", store, max_keys=3)
    await second.fold.restore()
    assert set(second.keys.records) == set(first.keys.records)
    write(spool, *(request(key_id(number)) for number in range(5)))
    await second.run()
    assert second.requests("_overflow") == 4
    await second.ledger.forget_keys(list(second.keys.records))
    third = Folding(tmp_path / "spool", store, max_keys=3)
    await third.fold.restore()
    assert set(third.counts.keys) == {"_overflow"}


async def test_counted_models_keep_their_places_over_a_restart(tmp_path: Path, store: Store) -> None:
    spool = writer(tmp_path / "spool")
    write(spool, *(request(A, model=f"old {number}") for number in range(101)))
    first = Folding(tmp_path / "spool", store)
    await first.run()
    assert len(first.counts.families["models"]) == 101 and first.counts.families["models"]["other\x1fok"] == 1
    write(spool, request(A, model="old 7"), request(A, model="new"))
    second = Folding(tmp_path / "spool", store)
    await second.run()
    models = second.counts.families["models"]
    assert models.keys() == first.counts.families["models"].keys()
    assert (models["old 7\x1fok"], models["other\x1fok"]) == (2, 2)


async def test_details_that_fell_behind_come_in_large_stretches(tmp_path: Path, store: Store) -> None:
    spool = writer(tmp_path / "spool", segment_bytes=4000)
    folding = Folding(tmp_path / "spool", store)
    await folding.fold.restore()
    for _ in range(6):
        write(spool, *(request(key_id(number % 5), model=f"m{number % 3}") for number in range(40)))
        folding.fold.count()
        while folding.fold.lag(NOW):
            folding.fold.count()
            await folding.fold.apply(NOW)
    assert folding.fold.lag(DETAILS) > 0
    keys = [key_id(number) for number in range(5)]
    report = await usage_of(store).usage(None, None, None, "1h", "model")
    assert report.totals.requests == sum(group.totals.requests for group in await groups_in(report) or []) == 240
    assert await read_uses(store, keys) == {}
    folding.fold.count()
    await folding.fold.apply(DETAILS)
    assert folding.fold.lag(DETAILS) == folding.fold.backlog() == 0
    uses = await read_uses(store, keys)
    assert sum(secret.requests for use in uses.values() for secret in use.secrets.values()) == 240
    assert sum(map(requests, await store.call(*hours_of(keys[0], int(request().time // 86400), range(24))))) == 48


async def test_what_lies_behind_the_end_of_a_segment_is_read_at_once(tmp_path: Path, store: Store) -> None:
    spool = writer(tmp_path / "spool", segment_bytes=2000)
    write(spool, *(request(A) for _ in range(40)))
    folding = Folding(tmp_path / "spool", store)
    loop = FoldLoop(folding.fold)
    waits = [await loop.turn()]
    while folding.fold.uncounted():
        waits.append(await loop.turn())
    assert len(waits) > 2 and not any(waits[:-1])


@pytest.mark.parametrize("lane", LANES)
async def test_a_lane_that_fell_behind_goes_on_with_what_is_summed_already(
    tmp_path: Path, store: Store, lane: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much comes in between counting and applying."""
    spool = writer(tmp_path / "spool")
    folding = Folding(tmp_path / "spool", store)
    await folding.fold.restore()
    summed: list[int] = []
    add = Sums.add
    monkeypatch.setattr(Sums, "add", lambda sums, records, kept=None: summed.append(len(records)) or add(sums, records, kept))
    for turn in range(8):
        write(spool, *(request(A) for _ in range(3)))
        folding.fold.count()
        write(spool, *(request(A) for _ in range(2)))
        for each in LANES:
            if each != lane or turn:
                await folding.fold.apply(each)
    assert folding.fold.lag(lane) == folding.fold.uncounted() > 0
    counted, missed_and_next = 3 + 7 * 5, 3 + 5
    assert sum(summed) <= counted + missed_and_next, "what it missed was added up once more, and nothing after that"
