"""SIGTERM in the middle of traffic: unready at once, open answers to their end or visibly broken off."""

from __future__ import annotations

import http.client
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.hub import ACCESS_KEY, hub_process
from tests.support.ports import is_open
from tests.support.sidecar import Sidecar, call
from tests.support.waiting import wait_until

BODY = json.dumps(
    {
        "input": {"messages": [{"role": "user", "content": "Hi"}], "modelOptions": {"model": "demo/long:100"}},
        "options": {"streaming": True},
    }
)


@contextmanager
def streaming(directory: Path, *, delay: str, drain: str) -> Iterator[tuple[Sidecar, http.client.HTTPResponse]]:
    """A sidecar and an answer of a hundred words that has begun; the hub waits `delay` seconds between two of them."""
    with hub_process("--delay", delay) as hub, Sidecar(directory, hub.url, ACCESS_KEY, proxy__drain_timeout=drain) as sidecar:
        _, secret = sidecar.create_key()
        connection = http.client.HTTPConnection(sidecar.url.removeprefix("http://"), timeout=30)
        connection.request("POST", "/api/v2/chat", BODY, {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.readline().startswith(b"data: ")
        try:
            yield sidecar, answer
        finally:
            connection.close()


def status(url: str) -> int:
    try:
        return call("GET", url).status
    except OSError:
        return 0


def test_an_open_answer_comes_to_its_end(tmp_path: Path) -> None:
    with streaming(tmp_path, delay="0.1", drain="60s") as (sidecar, answer):
        assert sidecar.process is not None
        sidecar.process.send_signal(signal.SIGTERM)
        wait_until(lambda: status(f"{sidecar.metrics_url}/readyz") == 503)
        port = int(sidecar.url.rpartition(":")[2])
        wait_until(lambda: not is_open(port))
        assert status(f"{sidecar.metrics_url}/livez") == 200
        assert b'"usage"' in answer.read(), "the last event has what was used"
        assert sidecar.process.wait(30) == 0


def test_an_answer_that_takes_too_long_never_looks_complete(tmp_path: Path) -> None:
    with streaming(tmp_path, delay="5", drain="500ms") as (sidecar, answer):
        assert sidecar.process is not None
        sidecar.process.send_signal(signal.SIGTERM)
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            answer.read()
        assert sidecar.process.wait(30) == 0


def test_a_second_signal_hurries(tmp_path: Path) -> None:
    with streaming(tmp_path, delay="5", drain="60s") as (sidecar, answer):
        assert sidecar.process is not None
        sidecar.process.send_signal(signal.SIGTERM)
        wait_until(lambda: status(f"{sidecar.metrics_url}/readyz") == 503)
        sidecar.process.send_signal(signal.SIGTERM)
        assert sidecar.process.wait(30) == 0
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            answer.read()
