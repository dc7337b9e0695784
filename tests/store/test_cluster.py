"""A Redis Cluster of real processes: everything works, a part dies, a replica takes over."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any, Self

import pytest
from redis.asyncio.cluster import ClusterNode
from redis.crc import key_slot

from sidecar.keys.listing import Query
from sidecar.settings import declaration
from sidecar.settings.values import StoreUrl
from sidecar.store import names
from sidecar.store.client import Script, Store, StoreUnavailable, connect
from sidecar.store.gathering import MOST_TRIPS
from tests.support.cluster import SLOTS, cluster, cluster_settings, leased, move_slot, node_id, opened, owner, writes
from tests.support.keys import open_keys, shape
from tests.support.ports import ABOVE, free_port
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
        assert abs(await store.time() - time.time()) < 60.0, "whose clock it is does not matter"
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
            await until(lambda: lease.fresh())


async def test_a_dead_part_of_a_cluster_is_an_outage_of_its_keys_only(tmp_path: Path) -> None:
    async with cluster(tmp_path) as servers, opened(cluster_settings(servers), tmp_path) as store:
        for server in servers:
            server.command("CONFIG", "SET", "cluster-require-full-coverage", "no")
        homes = {index: next(f"k{n}" for n in range(1000) if owner(servers, f"k{n}") == index) for index in range(3)}
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
        await until(lambda: writes(store, homes[1]))


async def test_a_part_that_hangs_takes_no_answers_of_the_other_parts(tmp_path: Path) -> None:
    """In one trip, as limits are asked for: whose keys the others hold must notice nothing, then or afterwards."""
    async with cluster(tmp_path) as servers, opened(cluster_settings(servers), tmp_path) as store:
        homes = [next(f"k{n}" for n in range(1000) if owner(servers, f"k{n}") == index) for index in range(3)]
        calls = [(ECHO, [name], ["v"]) for name in (*homes, *homes)]
        good = [[name.encode(), b"v"] for name in (*homes, *homes)]
        await until(lambda: _answers(store, homes))
        assert await store.run_many(calls) == good
        servers[1].freeze()
        for _ in range(20):
            replies = await store.run_many(calls)
            assert [reply for place, reply in enumerate(replies) if place % 3 != 1] == [
                one for place, one in enumerate(good) if place % 3 != 1
            ]
            assert [type(reply) for reply in replies[1::3]] == [StoreUnavailable] * 2
            assert await writes(store, homes[0])
        # What is all or nothing stays so.
        with pytest.raises(StoreUnavailable):
            await store.pipeline([("GET", name) for name in homes])
        servers[1].thaw()
        await until(lambda: _answers(store, homes))


async def _answers(store: Store, keys: list[str]) -> bool:
    try:
        return len(await store.pipeline([("GET", name) for name in keys])) == len(keys)
    except StoreUnavailable:
        return False


async def test_connections_that_the_servers_have_closed_cost_nobody_an_answer(tmp_path: Path) -> None:
    """As after a restart, or where the servers end idle connections: nothing was sent on them, so nothing is lost."""
    async with cluster(tmp_path) as servers, opened(cluster_settings(servers), tmp_path) as store:
        keys = [f"k{n}" for n in range(30)]
        await until(lambda: _answers(store, keys))
        for _ in range(3):
            await asyncio.gather(*(_answers(store, keys) for _ in range(10)))
            for server in servers:
                assert server.command("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES").startswith(b":")
            # A turn of the loop, in which it takes notice.
            await asyncio.sleep(0)
            assert all(await asyncio.gather(*(_answers(store, keys) for _ in range(10))))


async def test_a_crowd_that_asks_at_once_is_answered(tmp_path: Path) -> None:
    """As when a lease was lost: each look-up asks the server of the store's identity, and that is one for all of them."""
    async with cluster(tmp_path) as servers, opened(cluster_settings(servers), tmp_path) as store:
        server = servers[owner(servers, names.META)]
        await until(lambda: _answers(store, [names.META]))
        assert all(await asyncio.gather(*(_answers(store, [names.META]) for _ in range(300))))
        assert server.command("CLIENT", "LIST").count(b"user=") <= MOST_TRIPS + 10, "each trip of its own has its connection"


async def test_a_cluster_that_is_away_at_the_start_is_found_later(tmp_path: Path) -> None:
    async with cluster(tmp_path) as servers:
        for server in servers:
            server.freeze()
        async with opened(cluster_settings(servers), tmp_path) as store:
            assert store.failure is not None
            async with asyncio.timeout(5):
                for _ in range(1000):
                    assert not await writes(store)
            for server in servers:
                server.thaw()
            await until(lambda: writes(store))
            assert store.failure is None


class _Deaf:
    """A proxy before a server that can lose one answer: it forwards the question, and ends the connection instead of the answer."""

    def __init__(self, server: Server, port: int) -> None:
        self._server = server
        self._port = port
        self.loses = b""
        """What a question has in it whose answer is lost; only the next one's."""

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._server.port)
        try:
            while question := await reader.read(1 << 16):
                back.write(question)
                # A question is small, and so is its answer.
                answer = await there.read(1 << 16)
                if self.loses and self.loses in question:
                    self.loses = b""
                    break
                writer.write(answer)
        finally:
            writer.transport.abort()
            back.transport.abort()


async def test_what_was_done_is_not_done_again_when_its_answer_is_lost(tmp_path: Path) -> None:
    """Not every script can be repeated: a request would be counted twice, a key be made and its secret be shown to nobody."""
    port = free_port(also=ABOVE)
    arguments = ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1", "--cluster-announce-port", str(port)]
    server = Server(tmp_path / "node", tcp=True, port=free_port(also=ABOVE), arguments=arguments)
    try:
        server.start()
        server.command("CLUSTER", "ADDSLOTSRANGE", "0", str(SLOTS - 1))
        await until(lambda: b"cluster_state:ok" in server.command("CLUSTER", "INFO"))
        settings = declaration.Store(url=StoreUrl.parse(f"redis+cluster://127.0.0.1:{port}"))
        async with _Deaf(server, port) as proxy:
            # So long that there is time for whatever is tried again.
            store = await connect(settings, tmp_path, timeout=3.0)
            try:
                await until(lambda: writes(store))
                for number, commands in enumerate(([("INCR", "once")], [("INCR", "once"), ("GET", "other")]), 1):
                    proxy.loses = b"INCR"
                    with pytest.raises(StoreUnavailable):
                        await store.pipeline(commands)
                    assert not proxy.loses
                    # The server is well: nobody after that one is refused.
                    assert await store.call("GET", "once") == str(number).encode()
            finally:
                await store.close()
    finally:
        server.close()


async def test_a_key_is_found_while_its_slot_moves(tmp_path: Path) -> None:
    """The target answers only a connection that has just said ASKING."""
    async with cluster(tmp_path) as servers, opened(cluster_settings(servers), tmp_path) as store:
        source, target = servers[:2]
        moved, other = (next(f"k{n}" for n in range(1000) if owner(servers, f"k{n}") == index) for index in range(2))
        await until(lambda: writes(store, moved))
        # Several connections to the target.
        assert all(await asyncio.gather(*(writes(store, other) for _ in range(8))))
        move_slot(source, target, key_slot(moved.encode()), [moved])
        assert source.command("GET", moved).startswith(b"-ASK")
        for _ in range(20):
            assert await store.call("GET", moved) == b"1"
            assert await store.pipeline([("GET", other), ("GET", moved), ("SET", moved, "1")]) == [b"1", b"1", b"OK"]
            assert await store.run_many([(ECHO, [other], [1]), (ECHO, [moved], [2])]) == [[other.encode(), b"1"], [moved.encode(), b"2"]]
        for server in (target, source):
            assert server.command("CLUSTER", "SETSLOT", str(key_slot(moved.encode())), "NODE", node_id(target)) == b"+OK\r\n"
        assert await store.pipeline([("GET", other), ("GET", moved)]) == [b"1", b"1"]


async def test_the_lease_outlives_the_move_of_the_slot_that_a_server_is_asked_in(tmp_path: Path) -> None:
    """The servers stay the same, and what proves that one is a primary must be asked for in another slot."""
    async with cluster(tmp_path) as servers, opened(cluster_settings(servers), tmp_path) as store:
        keys = await open_keys(store, tmp_path)
        mark = next(mark for mark in map(names.mark, range(64)) if owner(servers, mark) == 0)
        async with leased(store, keys) as (lease, changes):
            del changes[:]
            slot = key_slot(mark.encode())
            move_slot(*servers[:2], slot, [mark])
            for server in (servers[1], servers[0], servers[2]):
                assert server.command("CLUSTER", "SETSLOT", str(slot), "NODE", node_id(servers[1])) == b"+OK\r\n"
            await until(lambda: None in changes and lease.fresh())
            issued = await keys.repository.create(shape())
            await until(lambda: issued.key.id in changes)


async def test_a_cancellation_that_redis_py_swallows_ends_the_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with cluster(tmp_path) as servers, opened(cluster_settings(servers), tmp_path) as store:
        keys = await open_keys(store, tmp_path)
        asked = asyncio.Event()
        execute = ClusterNode.execute_command

        async def swallowing(node: ClusterNode, *command: Any, **options: Any) -> Any:
            asked.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.2)
            return await execute(node, *command, **options)

        async with leased(store, keys):
            monkeypatch.setattr(ClusterNode, "execute_command", swallowing)
            await asked.wait()


async def test_replicas_that_hang_cost_nobody_the_lease(tmp_path: Path) -> None:
    async with cluster(tmp_path, replicas=True) as servers, opened(cluster_settings(servers), tmp_path) as store:
        await until(lambda: writes(store))
        for replica in servers[3:]:
            replica.freeze()
        tracking = await store.track(names.TRACKED_PREFIXES, lambda _: None, ("GET", names.META))
        try:
            for _ in range(20):
                await tracking.prove(5.0)
        finally:
            await tracking.close()


async def test_a_cluster_fails_over_and_the_lease_follows(tmp_path: Path) -> None:
    async with cluster(tmp_path, replicas=True) as servers, opened(cluster_settings(servers), tmp_path) as store:
        keys = await open_keys(store, tmp_path)
        issued = await keys.repository.create(shape())
        async with leased(store, keys) as (lease, changes):
            servers[owner(servers[:3], names.key(issued.key.id))].kill()
            await until(lambda: writes(store, names.key(issued.key.id) + ":probe"))
            await until(lambda: changes.count(None) >= 2 and lease.fresh())
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

        await until(is_taken)
        await until(lambda: all(b"cluster_slots_assigned:16384" in server.command("CLUSTER", "INFO") for server in servers))
        key_id = next(f"key_{number}" for number in range(1_000_000) if key_slot(names.key(f"key_{number}").encode()) == kept)
        async with opened(cluster_settings(servers), tmp_path) as store:
            keys = await open_keys(store, tmp_path)
            async with leased(store, keys) as (_, changes):
                await store.call("HSET", names.key(key_id), "record", "changed")
                await until(lambda: key_id in changes)
