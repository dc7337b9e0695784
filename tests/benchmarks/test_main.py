"""One short run of everything: the hub, the sidecar, a peer, the load, the report."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.__main__ import main
from tests.support.sidecar import wait_until
from tests.support.source import ROOT
from tests.support.tools import require


def test_a_short_run_measures_both_and_writes_its_results(tmp_path: Path) -> None:
    require("wrk", install="apt-get install wrk")
    require("taskset", install="apt-get install util-linux")
    results, picture = tmp_path / "results.json", tmp_path / "picture.svg"
    command = [sys.executable, "-m", "benchmarks", "--contests", "post", "stream", "--peers", "clientsession"]
    command += ["--rounds", "1", "--seconds", "1", "--warm-up", "0", "--json", str(results), "--picture", str(picture)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    post, stream = json.loads(results.read_text())["contests"]
    assert not post["failures"] and not stream["failures"]
    figures = {entry["label"]: entry["samples"][0]["figures"] for entry in post["entries"]}
    assert set(figures) == {"sidecar", "clientsession"} and all(one["rate"] > 0 for one in figures.values())
    roles = next(entry["samples"][0]["roles"] for entry in post["entries"] if entry["label"] == "sidecar")
    assert set(roles) == {"supervisor", "control", "worker", "store"}
    assert "times clientsession" in done.stdout and picture.exists()


def runs(process: psutil.Process) -> bool:
    """Whose parent has ended is a zombie until the system comes to it."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_run_that_is_told_to_end_takes_its_proxies_along() -> None:
    require("wrk", install="apt-get install wrk")
    require("taskset", install="apt-get install util-linux")
    command = [sys.executable, "-m", "benchmarks", "--contests", "post", "--peers", "clientsession", "--rounds", "50"]
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        started: set[psutil.Process] = set()

        def load_runs() -> bool:
            started.update(psutil.Process(run.pid).children(recursive=True))
            return any(process.name() == "wrk" for process in psutil.Process(run.pid).children())

        wait_until(load_runs, within=60, what="the load")
        run.terminate()
        assert run.wait(60) == 128 + signal.SIGTERM
        assert len(started) > 5 and not [process for process in started if runs(process)]
    finally:
        run.kill()


@pytest.mark.parametrize("arguments", [["--contests", "no-such"], ["--peers", "no-such"], ["--quick", "--full"]])
def test_unknown_names_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and "error" in capsys.readouterr().err
