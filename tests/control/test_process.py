from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import aiohttp
import pytest

from sidecar.control import process
from sidecar.control.parts import Parts
from sidecar.control.pulse import Pulse
from sidecar.control.usage.blocks import pack
from sidecar.control.usage.call_bounds import CallLogBounds
from sidecar.events.spool import SpoolWriter
from sidecar.events.wire import encode
from sidecar.settings.load import load, to_bytes
from sidecar.store import names
from sidecar.store.client import Store
from tests.control.support.events import denied, key_id, request, state
from tests.support.keys import open_keys
from tests.support.ports import free_port
from tests.support.store import Server
from tests.support.tools import require
from tests.support.waiting import until

CHILD = """
import sys
from sidecar.settings.load import from_bytes
from sidecar.control.process import main
sys.exit(main(from_bytes(sys.stdin.buffer.read()), ready=lambda: print("ready", flush=True)))
"""


class Control:
    """A control process of one's own, and a stand-in for its workers."""

    def __init__(self, data_dir: Path, store: str, **environment: str) -> None:
        self.data_dir = data_dir
        self.metrics_port, self.admin_port = free_port(), free_port()
        self.settings = load(
            None,
            {
                "SIDECAR_DATA_DIR": str(data_dir),
                "SIDECAR_KEYS__PEPPER_FILE": str(data_dir / "pepper"),
                "SIDECAR_STORE__URL": store,
                "SIDECAR_METRICS__LISTEN": f"127.0.0.1:{self.metrics_port}",
                "SIDECAR_ADMIN__LISTEN": f"127.0.0.1:{self.admin_port}",
                **environment,
            },
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdin is not None
        self.process.stdin.write(to_bytes(self.settings))
        self.process.stdin.close()

    def spool(self, **bounds: int) -> SpoolWriter:
        (self.data_dir / "spool").mkdir(parents=True, exist_ok=True)
        return SpoolWriter(self.data_dir / "spool", **{"segment_bytes": 1 << 20, "max_bytes": 1 << 30, **bounds})

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(f"http://127.0.0.1:{self.metrics_port}{path}", headers=headers) as response:
                    return response.status, await response.text()
            except aiohttp.ClientConnectionError:
                return 0, ""

    async def admin(self, method: str, path: str, body: object = None) -> tuple[int, dict]:
        token = (self.data_dir / "admin-token").read_text().strip()
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
            session.request(method, f"http://127.0.0.1:{self.admin_port}/admin/v1{path}", json=body) as response,
        ):
            return response.status, json.loads(await response.text())

    async def value(self, sample: str) -> float | None:
        _, text = await self.get("/metrics")
        return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(sample + " ")), None)

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGUSR2)
        return self.process.wait(30)

    def close(self) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()


@pytest.fixture
async def control(tmp_path: Path, valkey: Server) -> AsyncIterator[Control]:
    control = Control(tmp_path / "data", valkey.url)
    control.start()
    await become_alive(control)
    yield control
    control.close()


async def become_alive(control: Control) -> None:
    async def alive() -> bool:
        return (await control.get("/livez"))[0] == 200

    await until(alive)


async def become_ready(control: Control, spool: SpoolWriter) -> None:
    async def ready() -> bool:
        spool.append(encode(state()))
        return (await control.get("/readyz"))[0] == 200

    await until(ready)


async def test_health_and_nothing_else(control: Control) -> None:
    assert (await control.get("/readyz"))[0] == 503
    assert (await control.get("/admin/v1/keys"))[0] == 404
    assert (await control.get("/"))[0] == 404
    async with aiohttp.ClientSession() as session, session.post(f"http://127.0.0.1:{control.metrics_port}/metrics") as response:
        assert response.status == 405
    spool = control.spool()
    await become_ready(control, spool)
    assert control.process is not None
    control.process.send_signal(signal.SIGTERM)

    async def unready() -> bool:
        return (await control.get("/readyz")) == (503, "shutting down\n")

    await until(unready)
    assert (await control.get("/livez"))[0] == 200
    assert control.stop() == 0


async def test_what_is_applied_is_claimed(control: Control, store: Store) -> None:
    spool = control.spool()
    await become_ready(control, spool)
    later = control.spool()
    later.append(encode(request(key_id(1), time=time.time())))

    async def applied() -> bool:
        return bool(await store.call("HEXISTS", names.positions(names.shard_of(key_id(1))), later.spool_id))

    await until(applied)
    claimed = {spool_id.decode() for spool_id in await store.call("ZRANGE", names.SPOOL_CLAIMS, 0, -1)}
    assert later.spool_id in claimed
    assert later.spool_id in (control.data_dir / "spool" / "claims").read_text()


async def test_workers_need_not_wait_for_a_store_that_is_away(tmp_path: Path) -> None:
    """They begin when the control process says that it has: a data plane that refuses connections tells nobody anything."""
    control = Control(tmp_path / "data", f"unix://{tmp_path}/nobody")
    control.start()
    try:
        assert control.process is not None and control.process.stdout is not None
        assert await asyncio.wait_for(asyncio.to_thread(control.process.stdout.readline), 20) == b"ready\n"
        status, reason = await control.get("/readyz")
        assert status == 503 and "store" in reason
        assert (control.data_dir / "pepper").exists(), "what workers need is there"
    finally:
        control.close()


async def test_a_new_key_has_rows_at_zero_and_its_use_shows_within_a_second(control: Control) -> None:
    spool = control.spool()
    await become_ready(control, spool)
    status, created = await control.admin("POST", "/keys", {"name": "app"})
    assert status == 201
    key_id = created["key"]["id"]
    assert await control.value(f'sidecar_key_requests_total{{key_id="{key_id}",outcome="ok",reason=""}}') == 0
    assert await control.value(f'sidecar_key_tokens_total{{key_id="{key_id}",token_type="input"}}') == 0
    assert await control.value(f'sidecar_key_last_used_timestamp_seconds{{key_id="{key_id}"}}') == 0
    spool.append(encode(denied()))
    took: list[float] = []
    # The promise is for a machine that has time for it.
    while not took or min(took) > 1.0:
        assert len(took) < 10, took
        number = len(took) + 1
        began = time.monotonic()
        spool.append(encode(request(key_id)))

        async def shown(number: int = number) -> bool:
            usage = (await control.admin("GET", f"/keys/{key_id}/usage?step=1h"))[1]
            series = f'sidecar_key_requests_total{{key_id="{key_id}",outcome="ok",reason=""}}'
            return usage["totals"]["requests"] == number and await control.value(series) == number

        await until(shown)
        took.append(time.monotonic() - began)
    assert await control.value('sidecar_auth_failures_total{reason="invalid_api_key"}') == 1
    calls = (await control.admin("GET", f"/requests?key={key_id}"))[1]["data"]
    assert len(calls) == len(took)

    async def in_status() -> bool:
        status, snapshot = await control.admin("GET", "/status")
        assert status == 200
        if not snapshot["workers"]:
            # It counts for a few seconds after it was heard, and the rounds may have taken longer.
            spool.append(encode(state()))
        return bool(snapshot["store"]["up"] and snapshot["spool"]["backlog_bytes"] == 0 and len(snapshot["workers"]) == 1)

    await until(in_status)


async def test_kill_9_of_control_and_store_loses_nothing_and_counts_nothing_twice(control: Control, valkey: Server) -> None:
    spool = control.spool()
    await become_ready(control, spool)
    key_id = (await control.admin("POST", "/keys", {"name": "app"}))[1]["key"]["id"]
    sample = f'sidecar_key_requests_total{{key_id="{key_id}",outcome="ok",reason=""}}'
    sent = 0
    for round_ in range(6):
        for _ in range(50):
            spool.append(encode(request(key_id)))
            sent += 1
        if round_ % 2:
            valkey.kill()
            valkey.start()
        else:
            control.close()
            control.start()
        for _ in range(50):
            spool.append(encode(request(key_id)))
            sent += 1

    async def settled() -> bool:
        return await control.value(sample) == sent

    await until(settled)

    async def stored() -> bool:
        spool.append(encode(state()))
        try:
            status, usage = await control.admin("GET", f"/keys/{key_id}/usage?step=1h")
        except aiohttp.ClientConnectionError:
            return False
        return status == 200 and usage["totals"]["requests"] == sent

    await until(stored)
    assert control.stop() == 0


async def test_a_store_that_is_down_at_the_start_is_waited_for(tmp_path: Path, valkey: Server) -> None:
    valkey.kill()
    control = Control(tmp_path / "data", valkey.url)
    control.start()
    try:
        await become_alive(control)
        spool = control.spool()
        spool.append(encode(state()))
        assert (await control.get("/readyz"))[0] == 503
        _, text = await control.get("/metrics")
        assert "\nsidecar_redis_up 0\n" in text
        assert "sidecar_key_requests_total" not in text
        valkey.start()
        await become_ready(control, spool)
        assert (control.data_dir / "admin-token").stat().st_mode & 0o777 == 0o600
    finally:
        control.close()


async def test_what_waits_is_folded_at_the_end(control: Control, valkey: Server) -> None:
    spool = control.spool()
    await become_ready(control, spool)
    key_id = (await control.admin("POST", "/keys", {"name": "app"}))[1]["key"]["id"]
    for _ in range(2000):
        spool.append(encode(request(key_id)))
    spool.close()
    for path in (control.data_dir / "spool").iterdir():
        os.utime(path, (time.time() - 60, time.time() - 60))
    assert control.stop() == 0
    control.close()
    position = valkey.command("HGET", names.positions(names.shard_of(key_id)), spool.spool_id)
    assert position.splitlines()[-1] == str(spool.position).encode(), "it is not left to the next process"
    control.start()

    async def counted() -> bool:
        return await control.value(f'sidecar_key_requests_total{{key_id="{key_id}",outcome="ok",reason=""}}') == 2000

    await until(counted)

    async def swept() -> bool:
        return not list((control.data_dir / "spool").glob("*.spool"))

    await until(swept)


async def test_promtool_has_nothing_to_say(control: Control) -> None:
    promtool = require("promtool", install="apt-get install prometheus")
    spool = control.spool()
    await become_ready(control, spool)
    key_id = (await control.admin("POST", "/keys", {"name": 'quote " and \\ back', "owner": "größe ✓"}))[1]["key"]["id"]
    spool.append(encode(request(key_id, trace_id="4bf92f3577b34da6a3ce929d0e0e4736", shadow="rate_limit_exceeded")))
    spool.append(encode(denied()))

    async def counted() -> bool:
        return bool(await control.value(f'sidecar_key_requests_total{{key_id="{key_id}",outcome="ok",reason=""}}'))

    await until(counted)
    _, text = await control.get("/metrics")
    checked = await asyncio.to_thread(subprocess.run, [promtool, "check", "metrics"], input=text.encode(), capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


async def test_the_call_log_of_a_store_that_is_not_the_known_one_is_not_cut(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "TRIM_EVERY", 0.001)

    async def nothing() -> None:
        return

    pulse = Pulse(store, (await open_keys(store, tmp_path)).adoption, first=nothing, again=nothing)
    await store.call("FLUSHALL")
    await store.call("ZADD", names.calls(0), 2, "1:1:1.0:1")
    await store.call("HSET", names.call_blocks(0), "1", pack([b""]), "count", 1)

    async def is_kept() -> bool:
        return await store.call("ZCARD", names.calls(0)) == 1

    async def was_looked_at() -> bool:
        return sum(pulse.durations[:-1]) >= 3 or not await is_kept()

    parts = SimpleNamespace(pulse=pulse, call_log=CallLogBounds(store, max_count=1000, max_age=1.0, clock=time.time))
    trimming = asyncio.create_task(process._trim(cast(Parts, parts)))
    await until(was_looked_at)
    trimming.cancel()
    await asyncio.wait([trimming])
    assert await is_kept()
