"""A reload is not noticed by anybody: no reset, no refusal, no call that goes unanswered. Nor, outside the data plane, is a crash."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sidecar.keys.digest import load
from sidecar.store import names
from tests.support.authorizer import Authorizer
from tests.support.certificates import LOCAL, self_signed
from tests.support.embedded import opened
from tests.support.hub import ACCESS_KEY, HubProcess
from tests.support.sidecar import Sidecar, wait_until

CALLERS = 6
RELOADS = 5
PATIENCE = 60.0


class Callers:
    """Threads that ask over a new connection each time, and what they were told: a status, or what went wrong."""

    def __init__(self, url: str, secret: str, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        parts = urlsplit(url)
        self._host, self._port, self._path = str(parts.hostname), parts.port, parts.path
        self._headers = {"Authorization": f"Bearer {secret}", "Connection": "close"}
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.told: Counter[str] = Counter()

    def count(self) -> int:
        """How many calls have ended."""
        with self._lock:
            return self.told.total()

    @contextmanager
    def calling(self) -> Iterator[None]:
        """They call while the block runs."""
        threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _call(self) -> None:
        while not self._stop.is_set():
            outcome = self._outcome()
            with self._lock:
                self.told[outcome] += 1

    def _outcome(self) -> str:
        if self._tls is not None:
            connection = http.client.HTTPSConnection(self._host, self._port, timeout=PATIENCE, context=self._tls)
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=PATIENCE)
        try:
            connection.request("GET", self._path, headers=self._headers)
            answer = connection.getresponse()
            body = answer.read()
            return "200" if answer.status == 200 else f"{answer.status} {body[:200]!r}"
        except (OSError, http.client.HTTPException) as error:
            return repr(error)
        finally:
            connection.close()


def reload(sidecar: Sidecar, workers: int) -> None:
    """Reload, until `workers` new ones are there and every old one has gone."""
    assert sidecar.process is not None
    old = set(sidecar.children("worker") + sidecar.children("authz"))
    sidecar.process.send_signal(signal.SIGHUP)

    def replaced() -> bool:
        now = sidecar.children("worker") + sidecar.children("authz")
        return len(now) == workers and not old & set(now)

    wait_until(replaced, within=PATIENCE, what="new workers in place of the old")


@pytest.mark.parametrize(("kind", "path"), [(Sidecar, "/api/v2/status"), (Authorizer, "/envoy/api/v2/status")])
def test_new_connections_through_reloads_all_get_their_answer(kind: type[Sidecar], path: str, hub: HubProcess, tmp_path: Path) -> None:
    with kind(tmp_path, hub.url, ACCESS_KEY, proxy__workers="2") as sidecar:
        _, secret = sidecar.create_key()
        callers = Callers(sidecar.url + path, secret)
        with callers.calling():
            for _ in range(RELOADS):
                before = callers.count()
                reload(sidecar, 2)
                wait_until(lambda before=before: callers.count() >= before + 50, within=PATIENCE, what="calls after a reload")
        assert set(callers.told) == {"200"}, callers.told
        assert callers.count() > RELOADS * 50


def test_a_pepper_follows_another_and_nobody_is_refused(hub: HubProcess, tmp_path: Path) -> None:
    sidecar, file = Sidecar(tmp_path, hub.url, ACCESS_KEY), tmp_path / "sidecar.yaml"
    del sidecar.environment["SIDECAR_KEYS__PEPPER_FILE"]
    file.write_text("{}")
    with sidecar:
        _, secret = sidecar.create_key()
        pepper, following = sidecar.data_dir / "pepper", sidecar.data_dir / "pepper.next"
        following.write_text("n" * 64)
        callers = Callers(sidecar.url + "/api/v2/status", secret)

        def goes_by_it() -> bool:
            with opened(sidecar) as store:
                return bool(store.hexists(names.META, f"pepper:{load(following).id}"))

        with callers.calling():
            wait_until(lambda: callers.count() >= 50, within=PATIENCE, what="calls before the reload")
            file.write_text(f"keys: {{pepper_file: {following}, previous_pepper_file: {pepper}}}")
            reload(sidecar, 1)
            wait_until(goes_by_it, within=PATIENCE, what="the new pepper in the store")
            before = callers.count()
            wait_until(lambda: callers.count() >= before + 50, within=PATIENCE, what="calls after it")
        assert set(callers.told) == {"200"}, callers.told


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_another_number_of_workers_loses_nobody(secure: bool, hub: HubProcess, tmp_path: Path) -> None:
    file = tmp_path / "sidecar.yaml"
    file.write_text("proxy: {workers: 3}\n")
    settings, tls = {}, None
    if secure:
        certificate, key = self_signed(tmp_path, *LOCAL)
        settings = {"proxy__tls__certificate_file": str(certificate), "proxy__tls__key_file": str(key)}
        tls = ssl.create_default_context(cafile=str(certificate))
    sidecar = Sidecar(tmp_path, hub.url, ACCESS_KEY, **settings)
    sidecar.environment["SIDECAR_CONFIG"] = str(file)
    with sidecar:
        _, secret = sidecar.create_key()
        callers = Callers(f"{sidecar.url}/api/v2/status", secret, tls)
        with callers.calling():
            for workers in (1, 3, 2, 1):
                file.write_text(f"proxy: {{workers: {workers}}}\n")
                before = callers.count()
                reload(sidecar, workers)
                wait_until(lambda before=before: callers.count() >= before + 50, within=PATIENCE, what="calls after a reload")
        assert set(callers.told) == {"200"}, callers.told


def control_is_replaced(sidecar: Sidecar, number: int) -> None:
    """Send `number` to the supervisor, or where that is SIGKILL to the control process, until there is another one of those."""
    assert sidecar.process is not None
    (old,) = sidecar.children("control")
    os.kill(old if number == signal.SIGKILL else sidecar.process.pid, number)

    def replaced() -> bool:
        now = sidecar.children("control")
        return bool(now) and old not in now

    wait_until(replaced, within=PATIENCE, what="another control process")


def test_health_metrics_and_admin_api_answer_through_reloads(hub: HubProcess, tmp_path: Path) -> None:
    with Sidecar(tmp_path, hub.url, ACCESS_KEY) as sidecar:
        urls = (f"{sidecar.metrics_url}/livez", f"{sidecar.metrics_url}/metrics", f"{sidecar.admin_url}/admin/v1/status")
        several = [Callers(url, sidecar.admin_token) for url in urls]
        with several[0].calling(), several[1].calling(), several[2].calling():
            for _ in range(RELOADS):
                control_is_replaced(sidecar, signal.SIGHUP)
                before = [callers.count() for callers in several]
                wait_until(
                    lambda before=before: all(now.count() >= then + 20 for now, then in zip(several, before, strict=True)),
                    within=PATIENCE,
                    what="calls after a reload",
                )
        assert [set(callers.told) for callers in several] == [{"200"}] * 3, [callers.told for callers in several]


def test_who_connects_after_a_crash_of_the_control_process_waits_for_the_next_one(hub: HubProcess, tmp_path: Path) -> None:
    with Sidecar(tmp_path, hub.url, ACCESS_KEY) as sidecar:
        callers = Callers(f"{sidecar.metrics_url}/livez", "")
        for pid in sidecar.children("control"):
            os.kill(pid, signal.SIGSTOP)  # what is asked from here on is asked of the next one
        with callers.calling():
            control_is_replaced(sidecar, signal.SIGKILL)
            wait_until(lambda: callers.count() >= 20, within=PATIENCE, what="calls after a crash")
        assert set(callers.told) == {"200"}, callers.told


def test_what_waits_for_an_old_worker_is_answered_by_a_new_one(hub: HubProcess, tmp_path: Path) -> None:
    """The old ones stand still: they accept nothing any more and are killed in the end, with connections in their queues."""
    with Sidecar(tmp_path, hub.url, ACCESS_KEY, proxy__workers="2", proxy__drain_timeout="100ms") as sidecar:
        _, secret = sidecar.create_key()
        host, port = sidecar.url.removeprefix("http://").split(":")
        for worker in sidecar.children("worker"):
            os.kill(worker, signal.SIGSTOP)
        request = f"GET /api/v2/status HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\nConnection: close\r\n\r\n".encode()
        clients = [socket.create_connection((host, int(port)), timeout=PATIENCE) for _ in range(40)]
        for client in clients:
            client.sendall(request)
        reload(sidecar, 2)
        for client in clients:
            with client, client.makefile("rb") as answer:
                assert answer.readline() == b"HTTP/1.1 200 OK\r\n"
