"""The fold while some of the store's shards are away, as those are whose server in a Cluster has died."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.control.folding.ledger import LANES, NOW
from sidecar.control.folding.loop import FoldLoop
from sidecar.control.folding.spools import Spools
from sidecar.keys.use import read_uses
from sidecar.store import names
from sidecar.store.client import Store, StoreUnavailable
from sidecar.store.names import SHARDS
from tests.control.support.away import partly_away
from tests.control.support.events import key_id, request
from tests.control.support.folding import Folding, usage_of, write, writer

A, B = key_id(1), key_id(2)


async def stored(store: Store, key: str) -> int:
    return (await usage_of(store).usage(key, None, None, "1h", None)).totals.requests


async def test_shards_that_answer_are_verified_and_renewed_whatever_the_others_do(tmp_path: Path, store: Store) -> None:
    shard = names.shard_of(A)
    write(writer(tmp_path / "spool"), *(request(A) for _ in range(5)))
    folding = Folding(tmp_path / "spool", store)
    await folding.run()
    await store.call("DEL", *[name.decode() for name in await store.call("KEYS", f"sidecar:{{u{shard}}}:*")])
    await store.call("HSET", totals := names.totals(shard, "i1"), "name", "value")
    partly_away(store).shards = {(shard + 1) % SHARDS}
    with pytest.raises(StoreUnavailable):
        await folding.fold.verify()
    assert await store.call("TTL", totals) > 0
    folding.fold.count()
    await folding.apply()
    assert await store.call("HLEN", names.positions(shard)) == len(LANES), "brought once more"


async def test_keys_of_the_other_shards_do_not_notice_one_that_is_away(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even when more waits for it than is read at once, and not while it catches up."""
    read = Spools.read
    monkeypatch.setattr(Spools, "read", lambda spools, spool_id, position: read(spools, spool_id, position, 4000))
    spool = writer(tmp_path / "spool")
    folding = Folding(tmp_path / "spool", store)
    await folding.fold.restore()
    away = partly_away(store)
    away.shards = {names.shard_of(A)}
    assert names.shard_of(B) not in away.shards
    loop = FoldLoop(folding.fold)
    for turn in range(1, 40):
        write(spool, *(request(A) for _ in range(10)), request(B))
        await loop.turn()
        if turn == 30:
            assert folding.fold.lag(NOW) > 10 * 4000 and loop.complaint == "a server is away"
            away.shards.clear()
            folding.fold.hurry()
        away_before, away.shards = away.shards, set()
        assert await stored(store, B) == turn
        away.shards = away_before
    assert folding.fold.lag(NOW) > 0
    assert await loop.finish(10.0)
    assert (await stored(store, A), await stored(store, B)) == (390, 39)
    uses = await read_uses(store, [A, B])
    assert [sum(secret.requests for secret in uses[key].secrets.values()) for key in (A, B)] == [390, 39]
