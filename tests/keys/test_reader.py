"""Reading keys of which one cannot be read."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from sidecar.keys.listing import Query
from sidecar.store import names
from sidecar.store.client import Store, StoreUnavailable
from tests.support.keys import Keys, open_keys, shape


@pytest.fixture
async def keys(store: Store, tmp_path: Path) -> Keys:
    return await open_keys(store, tmp_path)


async def spoil(keys: Keys, key_id: str) -> None:
    """Write what a newer version might have written, or a hand."""
    record = msgspec.json.decode(await keys.store.call("HGET", names.key(key_id), "record"))
    await keys.store.call("HSET", names.key(key_id), "record", msgspec.json.encode(record | {"on_anomaly": "quarantine", "version": 2}))


async def test_a_record_that_cannot_be_read_takes_no_other_key_away(keys: Keys, caplog: pytest.LogCaptureFixture) -> None:
    made = [await keys.repository.create(shape(f"app {number}")) for number in range(3)]
    ids = [issued.key.id for issued in made]
    await spoil(keys, ids[1])
    assert [key and key.id for key in await keys.repository.get_many(ids)] == [ids[0], None, ids[2]]
    for query in (Query(), Query("app"), Query(order="name"), Query(order="oldest")):
        assert {key.id for key in (await keys.repository.list(query)).keys} == {ids[0], ids[2]}, query
    told = [record.getMessage() for record in caplog.records if ids[1] in record.getMessage()]
    assert len(told) == 1


async def test_nobody_knows_what_a_key_may_do_whose_record_cannot_be_read(keys: Keys) -> None:
    issued = await keys.repository.create(shape())
    await spoil(keys, issued.key.id)
    with pytest.raises(StoreUnavailable, match="damaged"):
        await keys.repository.get(issued.key.id)
    with pytest.raises(StoreUnavailable, match="damaged"):
        await keys.repository.find(keys.digester.primary(issued.token.encode()))
