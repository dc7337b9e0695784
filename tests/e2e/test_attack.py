"""A stolen key, played for real: hub stand-in, store, sidecar, Prometheus, Alertmanager and a webhook receiver on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.control.anomaly.detectors.memory import Memory
from sidecar.control.anomaly.detectors.networks import Networks, agent_product
from sidecar.control.anomaly.detectors.seen import Seen, Sighting
from sidecar.control.anomaly.detectors.signals import DAY
from sidecar.control.anomaly.notifications.outbox import Message, headers
from sidecar.control.anomaly.replicas import SHARED
from sidecar.control.anomaly.storage import Storage
from sidecar.control.salt import first_salt
from sidecar.keys.digest import load
from tests.support.hub import ACCESS_KEY, HubProcess
from tests.support.ports import free_ports
from tests.support.sidecar import Sidecar, call, wait_until
from tests.support.source import ROOT
from tests.support.store import Server, open_store
from tests.support.tools import require

SECRET = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0"
THIEF = {"X_Forwarded_For": "203.0.113.9", "User_Agent": "curl/8.5.0"}
IDLE_DAYS = 20


class Receiver:
    """Takes what is posted; answers 500 as often as `failures` says."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, str], Any, bytes]] = []
        self.failures = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                fields = {name.lower(): value for name, value in self.headers.items()}
                receiver.posts.append((self.path, fields, json.loads(body), body))
                receiver.failures -= 1
                self.send_response(500 if receiver.failures >= 0 else 204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def at(self, path: str) -> list[tuple[str, dict[str, str], Any, bytes]]:
        return [post for post in self.posts if post[0] == path]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@contextmanager
def _running(*command: str | Path, log: Path) -> Iterator[None]:
    with log.open("wb") as output, subprocess.Popen([str(part) for part in command], stdout=output, stderr=output) as process:
        try:
            yield
        finally:
            process.terminate()


def _sidecar(tmp_path: Path, hub: HubProcess, store: Server, receiver: Receiver) -> Sidecar:
    return Sidecar(
        tmp_path,
        hub.url,
        ACCESS_KEY,
        store__url=store.url,
        proxy__trusted_proxies="127.0.0.1/32",
        notifications__webhooks=f"{receiver.url}/hook",
        notifications__webhook_secret=SECRET,
    )


def _give_history(sidecar: Sidecar, store: Server, key_id: str) -> None:
    """Let the detectors remember that the key was in use for months, and then for some weeks no more."""
    networks = Networks(first_salt(load(sidecar.data_dir / "pepper")))
    last = int(time.time()) - IDLE_DAYS * DAY
    first = last - 60 * DAY

    def seen(text: str, number: int) -> Seen:
        return Seen(number, {networks.number(text): Sighting(first, last)})

    memory = Memory(first, requests=100_000, last_used=last)
    memory.networks.sightings[networks.of("198.51.100.7").number] = Sighting(first, last)
    memory.agents = seen(agent_product("openai-python/1.40"), 8)

    async def save() -> None:
        opened = await open_store(store, timeout=5.0)
        try:
            await Storage(opened, SHARED).save([(key_id, memory)])
        finally:
            await opened.close()

    asyncio.run(save())


def _check_signature(fields: dict[str, str], body: bytes) -> None:
    message = Message(fields["webhook-id"], "", 0, "", 0, 0, body)
    assert headers(message, SECRET, float(fields["webhook-timestamp"]))["webhook-signature"] == fields["webhook-signature"]


def test_the_page_arrives_the_key_is_dead_and_alertmanager_says_so_too(
    tmp_path: Path, hub: HubProcess, valkey: Server, receiver: Receiver
) -> None:
    prometheus = require("prometheus", install="apt-get install prometheus")
    alertmanager = require("alertmanager", "prometheus-alertmanager", install="apt-get install prometheus-alertmanager")
    prometheus_port, alertmanager_port = free_ports(2)
    with _sidecar(tmp_path, hub, valkey, receiver) as sidecar:
        routes = yaml.safe_load((ROOT / "deploy/alertmanager/alertmanager.yml").read_text())
        routes["receivers"][2]["webhook_configs"][0]["url"] = f"{receiver.url}/pager"
        (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(routes))
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(tmp_path / "keys.yml")],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager_port}"]}]}]},
            "scrape_configs": [{"job_name": "sidecar", "static_configs": [{"targets": [sidecar.metrics_url.removeprefix("http://")]}]}],
        }
        # A test cannot wait for the usual interval of half a minute.
        (tmp_path / "keys.yml").write_text(
            (ROOT / "deploy/prometheus/rules/sidecar-keys.yml").read_text().replace("interval: 30s", "interval: 1s")
        )
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        key_id, secret = sidecar.create_key(name="billing", on_anomaly="disable")
        _give_history(sidecar, valkey, key_id)
        with (
            _running(
                alertmanager,
                f"--config.file={tmp_path}/alertmanager.yml",
                f"--storage.path={tmp_path}/alertmanager",
                f"--web.listen-address=127.0.0.1:{alertmanager_port}",
                "--cluster.listen-address=",
                log=tmp_path / "alertmanager.log",
            ),
            _running(
                prometheus,
                f"--config.file={tmp_path}/prometheus.yml",
                f"--storage.tsdb.path={tmp_path}/prometheus",
                f"--web.listen-address=127.0.0.1:{prometheus_port}",
                log=tmp_path / "prometheus.log",
            ),
        ):
            assert sidecar.ask(secret, **THIEF).status == 200
            (page,) = wait_until(lambda: receiver.at("/hook"), within=60, what="the page")
            _, fields, body, raw = page
            _check_signature(fields, raw)
            assert body["type"] == "anomaly.page"
            assert (body["data"]["key_name"], body["data"]["key_id"], body["data"]["policy"]) == ("billing", key_id, "disable")
            assert "first use from 203.0.113.0/24" in body["data"]["summary"].lower()
            assert f"{IDLE_DAYS} days of silence" in body["data"]["summary"]
            wait_until(lambda: sidecar.ask(secret, **THIEF).status == 401, what="the end of the key")
            assert sidecar.ask(secret, **THIEF).code == "api_key_disabled"
            assert set(wait_until(lambda: _likely(receiver), within=60, what="the alert")) == {key_id}
        (anomaly,) = sidecar.admin("GET", f"/anomalies?key={key_id}").json["data"]
        (response,) = anomaly["responses"]
        assert (anomaly["level"], response["action"], response["shadow"]) == ("page", "disable", False)
        (event,) = sidecar.admin("GET", "/audit-events?action=api_key.disabled").json["data"]
        assert (event["actor"]["id"], event["target"]["id"]) == ("anomaly", key_id)
        undo = sidecar.admin(response["undo"]["method"], response["undo"]["path"].removeprefix("/admin/v1"))
        assert undo.json["key"]["status"] == "active"
        wait_until(lambda: sidecar.ask(secret).status == 200, what="the key's return")


def _likely(receiver: Receiver) -> list[str]:
    """The keys that Alertmanager has told to be stolen, likely; groups of other alerts come in posts of their own."""
    alerts = [alert for _, _, body, _ in receiver.at("/pager") for alert in body["alerts"]]
    return [alert["labels"]["key_id"] for alert in alerts if alert["labels"]["alertname"] == "ApiKeyCompromiseLikely"]


def test_a_control_process_that_dies_in_the_middle_loses_no_page_and_a_repeat_has_the_same_id(
    tmp_path: Path, hub: HubProcess, valkey: Server, receiver: Receiver
) -> None:
    receiver.failures = 1
    with _sidecar(tmp_path, hub, valkey, receiver) as sidecar:
        key_id, secret = sidecar.create_key(name="billing", on_anomaly="notify")
        _give_history(sidecar, valkey, key_id)
        assert sidecar.ask(secret, **THIEF).status == 200
        (process,) = sidecar.children("control")
        os.kill(process, signal.SIGKILL)
        wait_until(lambda: sidecar.children("control") not in ([], [process]), what="another control process")

        def told() -> bool:
            # The thief goes on.
            sidecar.ask(secret, **THIEF)
            return bool(receiver.posts)

        wait_until(told, within=60, what="the page")
        (process,) = sidecar.children("control")
        os.kill(process, signal.SIGKILL)
        wait_until(lambda: len(receiver.posts) == 2, within=60, what="the repeat")
        first, second = (fields["webhook-id"] for _, fields, _, _ in receiver.posts)
        assert first == second
        assert call("GET", f"{sidecar.metrics_url}/livez").status == 200
        assert [one["level"] for one in sidecar.admin("GET", f"/anomalies?key={key_id}").json["data"]] == ["page"]
