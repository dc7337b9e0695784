from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sidecar.cli import demo
from sidecar.cli.demo_text import banner, curl, web_address
from sidecar.cli.errors import CommandError
from sidecar.demo.access_key import ACCESS_KEY
from sidecar.settings import load
from sidecar.settings.values import Listen
from tests.support.ports import free_port, is_open
from tests.support.source import ROOT
from tests.support.tools import require
from tests.support.waiting import wait_until

KEY = "ahk_" + "x" * 49


def test_the_plan_is_the_default_ports_or_the_next_free_ones(tmp_path: Path) -> None:
    plan = demo.plan(tmp_path, {}, 3000)
    ports = [Listen.parse(plan[name]["listen"]).port for name in ("proxy", "admin", "metrics")]
    assert len({3000, *ports}) == 4
    assert all(first <= port < first + 200 for first, port in zip((8080, 8081, 9464), ports, strict=True))
    assert plan["hub"] == {"url": "http://127.0.0.1:3000/", "access_key": ACCESS_KEY}


def test_another_hub_is_named_by_the_environment_and_its_key_is_written_nowhere(tmp_path: Path) -> None:
    plan = demo.plan(tmp_path, {"HUB_URL": "http://hub/", "HUB_ACCESS_KEY": "canary"}, 3000)
    assert plan["hub"] == {"url": "${HUB_URL}", "access_key": "${HUB_ACCESS_KEY}"}
    assert demo.plan(tmp_path, {"HUB_URL": "http://hub/"}, 3000)["hub"]["access_key"] == ""


def test_a_port_is_never_planned_twice() -> None:
    first = free_port()
    assert demo.free_port(first, ()) == first
    assert demo.free_port(first, (first,)) > first


def test_where_every_port_is_taken_the_demo_names_those_that_it_has_tried() -> None:
    with pytest.raises(CommandError, match="no free port from 3000 to 3199; stop what listens there"):
        demo.free_port(3000, range(3000, 3200))


@pytest.mark.parametrize("profile", ["aigne", "openai", "./mine.yaml"])
def test_the_line_to_paste_takes_more_options(profile: str) -> None:
    line = curl(load(None, {"SIDECAR_HUB__PROFILE": profile}), KEY)
    words = shlex.split(line)
    assert "\n" not in line
    assert words[:2] == ["curl", "-sS"]
    assert words[2].startswith("http://127.0.0.1:8080/")
    assert "--" not in words
    assert f"Authorization: Bearer {KEY}" in words


def test_the_first_line_that_begins_with_curl_is_the_line() -> None:
    settings = load(None, {})
    first = next(line for line in banner(settings, KEY, "sidecar").splitlines() if line.startswith("curl "))
    assert first == curl(settings, KEY)


def test_why_the_line_counts_no_tokens_is_told_where_it_is_so() -> None:
    assert "-H 'Accept: text/event-stream'" in banner(load(None, {}), KEY, "sidecar")
    assert "text/event-stream" not in banner(load(None, {"SIDECAR_HUB__PROFILE": "openai"}), KEY, "sidecar")


@pytest.mark.parametrize(
    ("listen", "address"), [("0.0.0.0:80", "http://127.0.0.1:80"), ("[::1]:80", "http://[::1]:80"), ("10.0.0.1:8", "http://10.0.0.1:8")]
)
def test_addresses_that_a_browser_takes(listen: str, address: str) -> None:
    assert web_address(Listen.parse(listen)) == address


def test_make_run_is_the_demo(tmp_path: Path) -> None:
    make = require("make", install="apt-get install make")
    words = [make, "--dry-run", "run", f"VENV={tmp_path}", "ARGS=--help"]
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    # Not the last line: under another make this one tells of its directory.
    assert f"exec {tmp_path}/bin/sidecar demo --help" in said.splitlines()


class Demo:
    """A running demo and what it has printed."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self._output = directory / "output"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SIDECAR_", "HUB_"))}
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sidecar", "demo"],
                cwd=ROOT,
                env={**kept, "TMPDIR": str(directory), **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    def curl(self) -> str:
        def line() -> str:
            assert self.process.poll() is None, self.output
            return next((line for line in self.output.splitlines() if line.startswith("curl ")), "")

        return wait_until(line, within=60)

    def fact(self, name: str) -> str:
        found = re.search(rf"^  {name} +(\S+)", self.output, re.MULTILINE)
        assert found, self.output
        return found[1]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Demo]]:
    demos: list[Demo] = []
    yield demos
    for each in demos:
        each.close()


def test_everything_that_is_printed_works_and_nothing_stays_behind(tmp_path: Path, started: list[Demo]) -> None:
    require("curl", install="apt-get install curl")
    # As after `make run`: the environment that it runs in is on nobody's PATH.
    elsewhere = {"PATH": "/usr/bin:/bin"}
    running = Demo(tmp_path, **elsewhere)
    started.append(running)
    line = running.curl()
    answer = subprocess.run(["bash", "-c", f"{line} -o /dev/null -w '%{{http_code}}'"], capture_output=True, text=True, timeout=30)
    assert (answer.stdout, answer.stderr) == ("200", "")
    token = Path(running.fact("Admin token"))
    assert token.stat().st_mode & 0o777 == 0o600
    pasted = running.output.partition("in another terminal:\n\n")[2].partition("\n\n")[0]
    listed = subprocess.run(["bash", "-c", pasted], env=elsewhere, capture_output=True, text=True, timeout=60)
    assert "demo" in listed.stdout, listed.stderr
    children = psutil.Process(running.process.pid).children(recursive=True)
    assert len(children) >= 5, "hub, supervisor, store, control, worker"

    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(30) == 0
    assert not any(child.is_running() for child in children)
    assert [path.name for path in tmp_path.iterdir()] == ["output"]


def test_nothing_outlives_a_demo_that_is_killed(tmp_path: Path, started: list[Demo]) -> None:
    running = Demo(tmp_path)
    started.append(running)
    running.curl()
    children = psutil.Process(running.process.pid).children(recursive=True)
    running.process.kill()
    running.process.wait()
    wait_until(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children), within=20)


def test_it_fronts_the_hub_that_is_named(tmp_path: Path, started: list[Demo]) -> None:
    port = free_port()
    command = [sys.executable, "-m", "sidecar.demo.hub", "--port", str(port), "--access-key", "blocklet-mine"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as hub:
        try:
            wait_until(lambda: is_open(port), within=30)
            kept = os.path.relpath(tmp_path / "kept", ROOT)
            running = Demo(tmp_path, HUB_URL=f"http://127.0.0.1:{port}/", HUB_ACCESS_KEY="blocklet-mine", SIDECAR_DATA_DIR=kept)
            started.append(running)
            answer = subprocess.run(["bash", "-c", running.curl()], capture_output=True, text=True, timeout=30)
            assert '"role":"assistant"' in answer.stdout
            assert running.fact("Hub") == f"http://127.0.0.1:{port}/"
            assert running.fact("Admin token") == str(tmp_path / "kept" / "admin-token")
            assert "blocklet-mine" not in (tmp_path / "kept" / "demo.yaml").read_text()
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(30) == 0
            assert (tmp_path / "kept" / "pepper").exists()
        finally:
            hub.terminate()
