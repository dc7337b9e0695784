"""The spool at its bound: traffic goes on, what is lost is counted, and everything else is still counted exactly once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub import ACCESS_KEY, HubProcess
from tests.support.sidecar import Sidecar, wait_until
from tests.support.store import Server

SOON = 60.0
PATIENCE = 240.0
"""Seconds for some hundred requests, one after the other."""
SEGMENT, BOUND = 64 << 10, 128 << 10


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "valkey", tcp=True)
    server.start()
    yield server
    server.close()


def spool_bytes(sidecar: Sidecar) -> int:
    total = 0
    for path in (sidecar.data_dir / "spool").glob("*.spool"):
        # A segment that is done with may go while they are listed.
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def counted(sidecar: Sidecar, key_id: str) -> int:
    """Served requests by the usage API; -1 while it cannot tell."""
    answer = sidecar.admin("GET", f"/keys/{key_id}/usage")
    return int(answer.json["totals"]["requests"]) if answer.status == 200 else -1


def test_beyond_max_bytes_events_are_lost_and_the_loss_is_told(hub: HubProcess, store: Server, tmp_path: Path) -> None:
    settings = {
        "store__url": store.url,
        "store__on_unavailable": "serve_cached",
        "spool__segment_bytes": f"{SEGMENT // 1024}KiB",
        "spool__max_bytes": f"{BOUND // 1024}KiB",
    }
    with Sidecar(tmp_path, hub.url, ACCESS_KEY, **settings) as sidecar:
        key_id, secret = sidecar.create_key()
        served = 0
        for _ in range(10):
            served += sidecar.ask(secret).status == 200
        wait_until(lambda: counted(sidecar, key_id) == served, within=SOON)
        store.kill()
        began = time.monotonic()
        # Well beyond the bound: what no longer fits is answered all the same.
        while served < 10 + BOUND // 200:
            assert sidecar.ask(secret).status == 200
            served += 1
            assert spool_bytes(sidecar) <= BOUND + 1024
            assert time.monotonic() < began + PATIENCE, f"{served} requests in {PATIENCE} s"
        wait_until(lambda: b"events were lost" in sidecar.log.read_bytes(), within=SOON, what="a word in the log")
        store.start()
        wait_until(lambda: sidecar.metric("sidecar_spool_dropped_total") > 0, within=SOON, what="the loss in /metrics")
        # There is room again: what comes now is counted again, at once.
        more = 0
        while not more:
            before = counted(sidecar, key_id)
            assert sidecar.ask(secret).status == 200
            served += 1
            deadline = time.monotonic() + 5
            while not more and time.monotonic() < deadline:
                more = before >= 0 and counted(sidecar, key_id) > before

        wait_until(lambda: sidecar.metric("sidecar_metering_pending_bytes") == 0, within=SOON)

        def is_accounted_for() -> bool:
            kept = counted(sidecar, key_id)
            lost = served - kept
            # A worker's own once-a-second records find no room either, and are told too.
            is_told = lost <= sidecar.metric("sidecar_spool_dropped_total") <= lost + time.monotonic() - began + 1
            return is_told and sidecar.metric("sidecar_key_requests_total", key_id=key_id) == kept

        wait_until(is_accounted_for, within=SOON, what="each request counted, or told to be lost")
        assert 10 < counted(sidecar, key_id) < served
        wait_until(lambda: spool_bytes(sidecar) <= BOUND, within=SOON, what="a spool within its bound")
