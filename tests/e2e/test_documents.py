"""The programs of the documents, as they stand there, against a real sidecar and a hub that answers like the real one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents import Block, blocks
from tests.support.hub import ACCESS_KEY, hub_process
from tests.support.node import HUB_CLIENT, node_with
from tests.support.sidecar import Sidecar, wait_until
from tests.support.source import ROOT
from tests.support.tools import require

DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "developers.md", ROOT / "docs" / "revocation.md")
PROGRAMS = {block.run: block for file in DOCUMENTS for block in blocks(file) if block.run}


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    with hub_process() as hub, Sidecar(tmp_path_factory.mktemp("sidecar"), hub.url, ACCESS_KEY) as running:
        yield running


def _run(block: Block, command: list[str], sidecar: Sidecar, cwd: Path) -> str:
    """Run the program with a new key; what it prints. Its call must have been counted as a success."""
    key_id, secret = sidecar.create_key(name="documented")
    environment = {**os.environ, "SIDECAR_URL": sidecar.url, "SIDECAR_API_KEY": secret}
    done = subprocess.run([*command, block.text], env=environment, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    wait_until(lambda: sidecar.metric("sidecar_key_requests_total", key_id=key_id, outcome="ok") == 1)
    return done.stdout


def test_every_program_is_run() -> None:
    assert set(PROGRAMS) == {"curl", "node", "python", "openai", "prove"}


def test_curl(sidecar: Sidecar, tmp_path: Path) -> None:
    require("curl", install="apt-get install curl")
    assert '"role":"assistant"' in _run(PROGRAMS["curl"], ["bash", "-c"], sidecar, tmp_path).replace(" ", "")


def test_python(sidecar: Sidecar, tmp_path: Path) -> None:
    assert "Hello!" in _run(PROGRAMS["python"], [sys.executable, "-c"], sidecar, tmp_path)


def test_node(sidecar: Sidecar) -> None:
    node, folder = node_with(HUB_CLIENT)
    assert "Hello!" in _run(PROGRAMS["node"], [node, "--input-type=module", "-e"], sidecar, folder)


def test_openai(tmp_path: Path) -> None:
    program = PROGRAMS["openai"]
    with hub_process("--protocol", "openai") as hub, Sidecar(tmp_path, hub.url, ACCESS_KEY, hub__profile="openai") as sidecar:
        assert "Hello!" in _run(program, [sys.executable, "-c"], sidecar, tmp_path)
        environment = {**os.environ, "SIDECAR_URL": sidecar.url, "SIDECAR_API_KEY": "ahk_mistyped"}
        wrong = subprocess.run(
            [sys.executable, "-c", program.text], env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        assert wrong.stdout.startswith("401 invalid_api_key")


def test_the_proof_of_a_revocation(tmp_path: Path) -> None:
    """The page's own program is its verdict: exit code 0 only when every way in was closed in time."""
    with hub_process("--delay", "0.03") as hub, Sidecar(tmp_path, hub.url, ACCESS_KEY, proxy__workers="2") as sidecar:
        environment = {
            **os.environ,
            "SIDECAR_URL": sidecar.url,
            "SIDECAR_ADMIN_URL": sidecar.admin_url,
            "SIDECAR_ADMIN_TOKEN": sidecar.admin_token,
            "PROVE_MODEL": "demo/long:3000",
        }
        command = [sys.executable, "-c", PROGRAMS["prove"].text]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "['api_key_revoked']" in done.stdout
