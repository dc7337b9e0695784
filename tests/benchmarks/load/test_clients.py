"""The clients that time every exchange, against the benchmarks' hub in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.source import ROOT


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    with subprocess.Popen([sys.executable, "-m", "benchmarks.upstream"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.terminate()


def run(module: str, *arguments: str) -> list[dict[str, float]]:
    command = [sys.executable, "-m", f"benchmarks.load.{module}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_streams_tell_when_they_open_and_close_and_how_late_events_were(hub: str) -> None:
    begin, end, done = run("streams", hub, "key", "--streams", "4", "--chunks", "20", "--every", "0.01")
    assert (begin["what"], end["what"], done["what"]) == ("open", "closing", "done")
    assert 4 <= begin["events"] < end["events"] <= done["events"] == 80
    assert done["broken"] == 0 and 0 <= done["p50"] <= done["p99"] <= done["longest"]


def test_a_pace_is_kept_and_every_answer_timed(hub: str) -> None:
    (done,) = run("paced", hub, "key", "--rate", "200", "--seconds", "0.5")
    assert done["requests"] == 100 and 0 < done["p50"] <= done["p99"] <= done["longest"]
