from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.cli.doctor import store as doctor
from sidecar.keys.adoption import Adoption
from sidecar.settings import Settings, load
from sidecar.store import names
from sidecar.store.client import Store
from tests.support.cluster import cluster, cluster_settings
from tests.support.keys import PEPPER
from tests.support.store import Server


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, "ok"),
        ({"redis_version": "7.0.15"}, "ok"),
        ({"redis_version": "6.2.7"}, "fail"),
        ({}, "fail"),
    ],
)
def test_versions(facts: dict[str, str], verdict: str) -> None:
    assert doctor.judge_version(facts).verdict == verdict


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ({"aof_enabled": "1"}, "ok"),
        ({"aof_enabled": "1", "aof_last_write_status": "err"}, "fail"),
        ({"aof_enabled": "0"}, "warn"),
        ({}, "warn"),
    ],
)
def test_persistence(facts: dict[str, str], verdict: str) -> None:
    assert doctor.judge_persistence(facts).verdict == verdict


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ({"maxmemory": "0", "maxmemory_policy": "allkeys-lru"}, "ok"),
        ({"maxmemory": "1000", "maxmemory_policy": "allkeys-lru"}, "fail"),
        ({"maxmemory": "1000", "maxmemory_policy": "noeviction"}, "ok"),
        ({"maxmemory": "1000", "maxmemory_policy": "noeviction", "used_memory": "999"}, "ok"),
        ({"maxmemory": "1000", "maxmemory_policy": "noeviction", "used_memory": "1000"}, "fail"),
        ({"maxmemory": "0", "maxmemory_policy": "noeviction", "used_memory": "1000"}, "ok"),
    ],
)
def test_memory(facts: dict[str, str], verdict: str) -> None:
    assert doctor.judge_memory(facts).verdict == verdict


@pytest.mark.parametrize(("skew", "verdict"), [(0.0, "ok"), (-0.9, "ok"), (1.1, "warn"), (-60, "warn")])
def test_clocks(skew: float, verdict: str) -> None:
    assert doctor.judge_clock(skew).verdict == verdict


def settings_for(server: Server, data_dir: Path) -> Settings:
    return load(None, {"SIDECAR_STORE__URL": server.url, "SIDECAR_DATA_DIR": str(data_dir)})


async def verdicts(settings: Settings, *, running: bool = False) -> dict[str, str]:
    return {check.name: check.verdict async for check in doctor.checks(settings, running=running)}


async def test_a_good_store_has_nothing_to_mend(valkey: Server, store: Store, tmp_path: Path) -> None:
    assert set((await verdicts(settings_for(valkey, tmp_path))).values()) == {"ok"}
    await store.call("HSET", names.META, "epoch", "abc")
    (tmp_path / "store-epoch").write_text("abc\n")
    assert set((await verdicts(settings_for(valkey, tmp_path))).values()) == {"ok"}


@pytest.mark.parametrize("epoch", [None, "other"])
async def test_a_store_that_is_not_the_known_one(valkey: Server, store: Store, tmp_path: Path, epoch: str | None) -> None:
    if epoch:
        await store.call("HSET", names.META, "epoch", epoch)
    (tmp_path / "store-epoch").write_text("abc\n")
    assert (await verdicts(settings_for(valkey, tmp_path)))["store adoption"] == "fail"


async def test_a_store_that_is_away(tmp_path: Path) -> None:
    settings = load(None, {"SIDECAR_STORE__URL": f"unix://{tmp_path}/nobody", "SIDECAR_DATA_DIR": str(tmp_path)})
    assert await verdicts(settings) == {"store": "fail"}


async def test_an_embedded_store_that_does_not_run_yet(tmp_path: Path) -> None:
    settings = load(None, {"SIDECAR_DATA_DIR": str(tmp_path)})
    assert await verdicts(settings) == {"store": "ok"}
    assert await verdicts(settings, running=True) == {"store": "fail"}


def test_info_is_read_whatever_kind_of_reply_it_is() -> None:
    assert doctor.parse_info(b"# Server\r\nredis_version:7.0.1\r\n") == {"redis_version": "7.0.1"}
    assert doctor.parse_info({"node": b"a:1"}) == {"a": "1"}
    assert doctor.parse_info({}) == {}


async def test_a_pepper_that_the_store_does_not_know(valkey: Server, store: Store, tmp_path: Path) -> None:
    """The sidecar answers 503 then; so it is no store in which all is well."""
    settings = settings_for(valkey, tmp_path)
    await Adoption(tmp_path / "store-epoch", PEPPER).establish(store)
    assert (await verdicts(settings))["store pepper"] == "fail", "the one that the first start would make is another one"
    (tmp_path / "pepper").write_bytes(b"o" * 32)
    assert (await verdicts(settings))["store pepper"] == "fail"
    (tmp_path / "pepper").write_bytes(b"p" * 32)
    assert (await verdicts(settings))["store pepper"] == "ok"


async def test_a_store_that_does_not_report_changes(valkey: Server, store: Store, tmp_path: Path) -> None:
    await store.call("ACL", "SETUSER", "limited", "on", ">canary", "~*", "&*", "+@all", "-client|tracking")
    url = f"unix://limited:canary@{valkey.socket}"
    found = await verdicts(load(None, {"SIDECAR_STORE__URL": url, "SIDECAR_DATA_DIR": str(tmp_path)}))
    assert found["store tracking"] == "warn"
    assert found["store"] == "ok"


@pytest.mark.parametrize(
    ("facts", "verdict"), [({}, "warn"), ({"min_slaves_good_slaves": "1"}, "ok"), ({"min_slaves_good_slaves": "0"}, "fail")]
)
def test_failovers(facts: dict[str, str], verdict: str) -> None:
    assert doctor.judge_failover(facts).verdict == verdict


async def test_a_replica_keeps_nothing(valkey: Server, store: Store, tmp_path: Path) -> None:
    assert (await verdicts(settings_for(valkey, tmp_path)))["store role"] == "ok"
    await store.call("REPLICAOF", "127.0.0.1", "1")
    try:
        assert (await verdicts(settings_for(valkey, tmp_path)))["store role"] == "fail"
    finally:
        await store.call("REPLICAOF", "NO", "ONE")


async def test_a_memory_that_cannot_be_read(valkey: Server, store: Store, tmp_path: Path) -> None:
    (tmp_path / "store-epoch").mkdir()
    assert (await verdicts(settings_for(valkey, tmp_path)))["store adoption"] == "fail"


async def test_every_server_of_a_cluster_is_looked_at(tmp_path: Path) -> None:
    async with cluster(tmp_path) as servers:
        found = {check.name: check async for check in doctor.checks(settings_of(servers, tmp_path), running=False)}
        assert found["store memory"].verdict == found["store persistence"].verdict == "ok"
        # Whichever is asked first, it is not both of these.
        servers[1].command("CONFIG", "SET", "appendonly", "no")
        servers[2].command("CONFIG", "SET", "maxmemory", "100mb")
        servers[2].command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        found = {check.name: check async for check in doctor.checks(settings_of(servers, tmp_path), running=False)}
        for name, verdict, server in (("store persistence", "warn", servers[1]), ("store memory", "fail", servers[2])):
            assert (found[name].verdict, found[name].finding.partition(": ")[0]) == (verdict, f"127.0.0.1:{server.port}")


async def test_a_server_of_a_cluster_that_does_not_answer(tmp_path: Path) -> None:
    async with cluster(tmp_path) as servers:
        servers[2].kill()
        findings = [check.finding async for check in doctor.checks(settings_of(servers, tmp_path), running=False)]
        assert any(finding.startswith(f"127.0.0.1:{servers[2].port} does not answer") for finding in findings)


@pytest.mark.parametrize(("took", "verdict"), [(0.05, "ok"), (0.06, "warn"), (0.125, "warn"), (0.13, "fail"), (0.4, "fail")])
def test_a_store_that_is_far_away(took: float, verdict: str) -> None:
    assert doctor.judge_distance("redis://store", took).verdict == verdict


def settings_of(servers: list[Server], data_dir: Path) -> Settings:
    return load(None, {"SIDECAR_STORE__URL": cluster_settings(servers).url.reveal(), "SIDECAR_DATA_DIR": str(data_dir)})
