from __future__ import annotations

import msgspec
from msgspec.structs import replace

from sidecar.control.anomaly import record
from sidecar.control.anomaly.index import FOR_EVER
from sidecar.control.anomaly.memory import Feedback, Memory, encode
from sidecar.control.anomaly.outbox import Message
from sidecar.control.anomaly.replicas import Replicas
from sidecar.control.anomaly.second import Second
from sidecar.control.anomaly.sources import Source
from sidecar.control.anomaly.storage import Storage
from sidecar.store import names
from sidecar.store.client import Store
from tests.control.anomaly.test_queries import _anomaly


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
    assert await storage.open_anomalies() == []
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
    assert [one.id for one in await storage.open_anomalies()] == [late.id]
    await storage.save([], [settled])
    await storage.save([], [late])
    assert (await storage.anomaly(late.id)) == settled
    assert await storage.open_anomalies() == []


async def test_old_anomalies_are_dropped_and_open_ones_kept(store: Store) -> None:
    storage = Storage(store, "x")
    await storage.save([], [_anomaly(index) for index in range(20)])
    await storage.drop_closed(1005.0)
    places, _ = await storage.index.places((FOR_EVER, ""), 100, key_id=None, only_open=False)
    left = {one.id for one in await storage.index.records(places)}
    assert left == {one.id for one in map(_anomaly, range(20)) if one.state == "open" or one.started_at > 1005.0}


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
