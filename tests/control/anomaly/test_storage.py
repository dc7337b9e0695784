from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from sidecar.control.anomaly import record
from sidecar.control.anomaly.detectors.memory import Feedback, Memory, encode
from sidecar.control.anomaly.detectors.second import Second
from sidecar.control.anomaly.detectors.sources import Source
from sidecar.control.anomaly.index import FOR_EVER
from sidecar.control.anomaly.notifications.outbox import Message
from sidecar.control.anomaly.replicas import Replicas
from sidecar.control.anomaly.storage import PartlySaved, Storage
from sidecar.store import names
from sidecar.store.client import Store, StoreUnavailable
from tests.control.anomaly.test_queries import _anomaly
from tests.control.support.away import partly_away
from tests.control.support.events import key_id


async def test_memories_are_each_instances_own(store: Store) -> None:
    one, other = Storage(store, "one"), Storage(store, "other")
    await one.save([(f"key_{index}", Memory(index)) for index in range(500)])
    found = await one.memories(["key_3", "key_none", "key_499"])
    assert [memory and memory.born for memory in found] == [3, None, 499]
    assert await other.memories(["key_3"]) == [None]


async def test_what_cannot_be_read_is_begun_anew(store: Store) -> None:
    storage = Storage(store, "one")
    await store.call("HSET", names.anomaly_state(names.shard_of("key_1"), "one"), "key_1", b"\x01")
    await store.call("HSET", names.anomaly_state(0, "one"), "_sources", b"\x01")
    assert await storage.memories(["key_1"]) == [None]
    assert await storage.sources() == {}


async def test_text_that_is_none_ends_nothing(store: Store) -> None:
    """It raises another error than what is not MessagePack or JSON at all."""

    def broken(data: bytes) -> bytes:
        assert b"XYZ" in data
        return data.replace(b"XYZ", b"\xff\xff\xff")

    storage, replicas = Storage(store, "one"), Replicas(store, "one")
    memory, shard = Memory(1, feedback={"XYZ": Feedback(1, 1)}), names.shard_of("key_1")
    await store.call("HSET", names.anomaly_state(shard, "one"), "key_1", broken(encode(memory)))
    await store.call("HSET", names.anomaly_state(0, "one"), "_sources", broken(msgspec.msgpack.encode({7: Source("XYZ", 1)})))
    await store.call("HSET", names.outbox(shard), "m", broken(Message("XYZ", "u", shard, "one", 1, 1, b"").encode()))
    await store.call("HSET", names.anomalies(shard), "a", broken(record.encode(replace(_anomaly(0), key_name="XYZ"))))
    await store.call("RPUSH", names.ANOMALY_INBOX, broken(msgspec.msgpack.encode([Second("XYZ", 1)])))
    assert await storage.memories(["key_1"]) == [None]
    assert await storage.sources() == {}
    assert await storage.messages() == []
    assert (await storage.open_anomalies())[0] == []
    assert await replicas.receive() == []


async def test_networks_come_back(store: Store) -> None:
    storage = Storage(store, "one")
    await storage.save_sources({7: Source("n", 1, {"key_1": 1})})
    assert await storage.sources() == {7: Source("n", 1, {"key_1": 1})}


async def test_an_acknowledged_anomaly_is_not_opened_again_by_a_late_writer(store: Store) -> None:
    storage = Storage(store, "x")
    late, settled = _anomaly(0), _anomaly(0)
    settled.state, settled.reason = "acknowledged", 'said: "state":"open"'
    await storage.save([], [late])
    assert [one.id for one in (await storage.open_anomalies())[0]] == [late.id]
    await storage.save([], [settled])
    await storage.save([], [late])
    assert (await storage.anomaly(late.id)) == settled
    assert (await storage.open_anomalies())[0] == []


async def test_old_anomalies_are_dropped_and_open_ones_kept(store: Store) -> None:
    storage = Storage(store, "x")
    await storage.save([], [_anomaly(index) for index in range(20)])
    await storage.drop_closed(1005.0)
    places, _ = await storage.index.places((FOR_EVER, ""), 100, key_id=None, only_open=False)
    left = {one.id for one in await storage.index.records(places)}
    assert left == {one.id for one in map(_anomaly, range(20)) if one.state == "open" or one.started_at > 1005.0}


async def test_more_open_anomalies_than_are_read_at_once_keep_no_closed_one(store: Store) -> None:
    storage = Storage(store, "x")
    every = [
        replace(
            _anomaly(index), key_id="", source="s", started_at=1000.0 + index, state="closed" if index in (0, 200, 251, 470) else "open"
        )
        for index in range(500)
    ]
    await storage.save([], every)
    await storage.drop_closed(1460.0)
    left = {one.id for one in await storage.reread(every)}
    assert left == {one.id for index, one in enumerate(every) if index not in (0, 200, 251)}


async def test_only_who_says_a_mute_changes_the_one_that_is_stored_and_every_other_member_is_kept_to_the_digit(store: Store) -> None:
    storage = Storage(store, "x")
    mine = replace(_anomaly(0), started_at=1767571200.123456, reason='said: "muted_until":1,', key_name="é\\")
    await storage.save([], [replace(mine, muted_until=1.5)])
    assert await storage.anomaly(mine.id) == replace(mine, muted_until=1.5), "the first to save it says all of it"
    for theirs in (1767571200.654321, 2.0e10, None):
        await storage.save([], [replace(mine, muted_until=theirs)], muted=[mine.id])
        assert await storage.anomaly(mine.id) == replace(mine, muted_until=theirs)
        await storage.save([], [replace(mine, level="warn", muted_until=7.0)], muted=["anm_other"])
        assert await storage.anomaly(mine.id) == replace(mine, level="warn", muted_until=theirs)


async def test_a_shard_that_is_away_keeps_none_of_the_others(store: Store) -> None:
    storage = Storage(store, "one")
    away = partly_away(store)
    keys = [next(key for key in map(key_id, range(1000)) if names.shard_of(key) == shard) for shard in range(4)]
    anomalies = [replace(_anomaly(number), key_id=key, source="") for number, key in enumerate(keys)]
    messages = [Message(f"msg_{shard}", "u", shard, "one", 1, 1, b"") for shard in range(4)]
    away.shards = {1, 3}
    with pytest.raises(PartlySaved) as raised:
        await storage.save([(key, Memory(7)) for key in keys], anomalies, messages)
    assert raised.value.away.keys() == {1, 3}
    assert {message.shard for message in await storage.messages()} == {0, 2}
    assert {one.key_id for one in await storage.reread(anomalies)} == {keys[0], keys[2]}
    away.shards = set()
    assert {message.shard for message in await storage.messages()} == {0, 2}
    assert [memory is not None for memory in await storage.memories(keys)] == [True, False, True, False]
    away.shards = set(range(names.SHARDS))
    with pytest.raises(StoreUnavailable):
        await storage.messages()
