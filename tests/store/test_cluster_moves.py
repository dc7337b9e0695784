"""A Redis Cluster whose servers are emptied, moved to other addresses, added, and given slots."""

from __future__ import annotations

import asyncio
from pathlib import Path

from redis.crc import key_slot

from sidecar.keys.cache import KeyCache
from sidecar.keys.lookup import Lookup
from sidecar.store import names
from sidecar.store.client import Script
from tests.support.cluster import cluster, cluster_settings, leased, move_slot, node_id, opened, owner, writes
from tests.support.keys import open_keys, shape
from tests.support.ports import ABOVE, free_port
from tests.support.store import Server, until

BOTH = Script("both", "return redis.call('MGET', KEYS[1], KEYS[2])")


def homes(servers: list[Server]) -> list[str]:
    """A name for each server, in their order."""
    return [next(f"k{n}" for n in range(1000) if owner(servers, f"k{n}") == index) for index in range(len(servers))]


async def test_a_server_that_was_emptied_takes_no_other_away(tmp_path: Path) -> None:
    async with cluster(tmp_path) as servers, opened(cluster_settings(servers), tmp_path) as store:
        for server in servers:
            server.command("CONFIG", "SET", "cluster-require-full-coverage", "no")
        emptied = next(index for index in range(3) if index != owner(servers, names.META))
        kept = [home for index, home in enumerate(homes(servers)) if index != emptied]
        async with leased(store, await open_keys(store, tmp_path)) as (lease, _):
            servers[emptied].command("FLUSHALL")
            assert servers[emptied].command("CLUSTER", "RESET", "HARD") == b"+OK\r\n"
            # As often as whoever is asked for the slots must have been that one.
            for _ in range(40):
                assert all(await asyncio.gather(*(writes(store, home) for home in kept)))
                await store._transport.endpoints()
            assert lease.fresh()


async def test_a_server_that_comes_back_at_another_address_is_found(tmp_path: Path) -> None:
    """With the id that it had: a pod that was started anew."""
    async with cluster(tmp_path) as servers, opened(cluster_settings(servers), tmp_path) as store:
        for server in servers:
            server.command("CONFIG", "SET", "cluster-require-full-coverage", "no")
        async with leased(store, await open_keys(store, tmp_path)) as (lease, _):
            gone = servers[1]
            home = homes(servers)[1]
            gone.kill()
            await until(lambda: lease.age() > 1.5)
            gone.port = free_port(also=ABOVE)
            gone.start()
            await until(lambda: writes(store, home))
            await until(lambda: lease.fresh())


async def test_a_key_on_a_server_that_reports_nothing_yet_is_not_remembered(tmp_path: Path) -> None:
    """It is given its first slot, and its record is there already: nobody would hear of its revocation."""
    async with cluster(tmp_path) as servers, opened(cluster_settings(servers), tmp_path) as store:
        keys = await open_keys(store, tmp_path)
        new = Server(
            tmp_path / "new", tcp=True, port=free_port(also=ABOVE), arguments=["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"]
        )
        try:
            new.start()
            servers[0].command("CLUSTER", "MEET", "127.0.0.1", str(new.port))
            await until(lambda: b"cluster_state:ok" in new.command("CLUSTER", "INFO"))
            await until(lambda: all(node_id(new).encode() in one.command("CLUSTER", "NODES") for one in servers))
            issued = await keys.repository.create(shape())
            record = names.key(issued.key.id)
            async with leased(store, keys) as (lease, _):
                lookup = Lookup(keys.repository, KeyCache(100), lease, keys.repository._digester)
                source = servers[owner(servers, record)]
                move_slot(source, new, key_slot(record.encode()), [record])
                assert await lookup.resolve(issued.token.encode()) is not None
                await until(lambda: not lease.fresh())
                # Admission goes on, by asking.
                assert await lookup.resolve(issued.token.encode()) is not None
                slot = str(key_slot(record.encode()))
                for server in (new, source, *servers):
                    assert server.command("CLUSTER", "SETSLOT", slot, "NODE", node_id(new)) == b"+OK\r\n"
                await until(lambda: lease.fresh())
        finally:
            new.close()


async def test_what_the_next_owner_cannot_answer_yet_is_asked_again(tmp_path: Path) -> None:
    async with cluster(tmp_path) as servers, opened(cluster_settings(servers), tmp_path) as store:
        tag = homes(servers)[0]
        there, never = f"{{{tag}}}a", f"{{{tag}}}b"
        await until(lambda: writes(store, there))
        move_slot(servers[0], servers[1], key_slot(tag.encode()), [there])

        async def finish() -> None:
            await until(lambda: asked)
            for server in (servers[1], servers[0]):
                server.command("CLUSTER", "SETSLOT", str(key_slot(tag.encode())), "NODE", node_id(servers[1]))

        asked: list[int] = []
        ask = store._transport._ask  # type: ignore[attr-defined]

        async def told(*what: object) -> object:
            replies = await ask(*what)
            asked.append(len(replies))
            return replies

        store._transport._ask = told  # type: ignore[attr-defined]
        (reply,), _ = await asyncio.gather(store.run_many([(BOTH, [there, never], [])]), finish())
        assert reply == [b"1", None]
