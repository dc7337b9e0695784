"""The user of the store that docs/scaling.md makes: it is enough for everything, and for no more."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.demo.access_key import ACCESS_KEY
from tests.support.cluster import cluster
from tests.support.documents import blocks
from tests.support.hub import HubProcess
from tests.support.sidecar import Sidecar, wait_until
from tests.support.source import ROOT
from tests.support.store import Server

SOON = 60.0
NOTHING_DENIED = b"*0\r\n"


def rule() -> list[str]:
    """The command of the page."""
    (text,) = [block.text for block in blocks(ROOT / "docs" / "scaling.md") if "ACL SETUSER" in block.text]
    return shlex.split(text.replace("\\\n", " "))[1:]


@contextlib.asynccontextmanager
async def servers(kind: str, directory: Path) -> AsyncIterator[tuple[list[Server], str]]:
    """Running servers that know the user, and what `store.url` says of them."""
    if kind == "cluster":
        async with cluster(directory) as several:
            hosts = ",".join(f"127.0.0.1:{server.port}" for server in several)
            yield several, f"redis+cluster://sidecar:PASSWORD@{hosts}"
        return
    one = Server(directory / "store", tcp=True)
    one.start()
    try:
        yield [one], f"redis://sidecar:PASSWORD@127.0.0.1:{one.port}/0"
    finally:
        one.close()


@pytest.mark.parametrize("kind", ["one", "cluster"])
async def test_the_user_of_the_page_is_enough(kind: str, hub: HubProcess, tmp_path: Path) -> None:
    async with servers(kind, tmp_path) as (running, url):
        assert [server.command(*rule()) for server in running] == [b"+OK\r\n"] * len(running)
        sidecar = Sidecar(tmp_path, hub.url, ACCESS_KEY, store__url=url)
        await asyncio.to_thread(_lives, sidecar)
        assert [server.command("ACL", "LOG") for server in running] == [NOTHING_DENIED] * len(running)


def _lives(sidecar: Sidecar) -> None:
    """One of everything that asks the store for something of its own."""
    with sidecar:
        limits, quota = {"rpm": 100, "tpm": 100_000, "max_concurrency": 3}, {"requests": 100, "tokens": 100_000}
        key_id, secret = sidecar.create_key(limits=limits, quota=quota)
        assert sidecar.ask(secret).status == 200
        wait_until(lambda: sidecar.admin("GET", f"/keys/{key_id}/usage").json["totals"]["requests"] == 1, within=SOON)
        wait_until(lambda: len(sidecar.admin("GET", "/requests").json["data"]) == 1, within=SOON)
        rotated = sidecar.admin("POST", f"/keys/{key_id}/rotate", {"grace_period": "0s"}).json["secret"]
        assert (sidecar.ask(secret).code, sidecar.ask(rotated).status) == ("api_key_rotated", 200)
        assert sidecar.admin("GET", "/anomalies").status == 200
        assert sidecar.admin("GET", "/audit-events/verify").json["verdict"]["ok"]
        assert sidecar.admin("POST", f"/keys/{key_id}/revoke").json["durable"]
        assert sidecar.ask(rotated).code == "api_key_revoked"
        command, environment = [sys.executable, "-m", "sidecar", "doctor"], sidecar.environment | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout


def test_the_user_of_the_page_can_do_no_more(valkey: Server) -> None:
    assert valkey.command(*rule()) == b"+OK\r\n"
    for words in (["FLUSHALL"], ["KEYS", "*"], ["MONITOR"], ["CONFIG", "SET", "appendonly", "no"], ["SET", "other:name", "x"]):
        assert b"no permissions" in valkey.command("ACL", "DRYRUN", "sidecar", *words), words
