from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar import child
from sidecar.settings import Settings, load
from sidecar.settings.load import to_bytes
from sidecar.supervisor.process import PythonLauncher
from tests.support.source import ROOT

CHILD = (sys.executable, "-m", "sidecar.child")


def test_a_role_that_does_not_exist_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        child.main(["nobody", "--parent", "1", "--settings-fd", "0", "--ready-fd", "1"])
    assert ended.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


def test_every_role_has_its_module() -> None:
    for module in child.ROLES.values():
        assert (ROOT / Path(*module.split(".")).with_suffix(".py")).is_file(), module


def test_a_child_whose_parent_has_gone_does_nothing() -> None:
    done = subprocess.run([*CHILD, "worker", "--parent", "1", "--settings-fd", "0", "--ready-fd", "1"], cwd=ROOT, timeout=30)
    assert done.returncode == 0


def test_an_error_that_nobody_knows_is_logged_and_ends_the_child(tmp_path: Path) -> None:
    settings = load(None, {"SIDECAR_DATA_DIR": str(tmp_path / "absent" / "deeper")})
    error = tmp_path / "stderr"
    pid, code = run_child("store", settings, error)
    assert code == 1
    assert '"process": "store"' in error.read_text()
    assert "FileNotFoundError" in error.read_text()
    assert pid > 0


def run_child(role: str, settings: Settings, error: Path) -> tuple[int, int]:
    """Start a child as the supervisor does and wait for its end."""
    saved = os.dup(2)
    with error.open("wb") as stream:
        os.dup2(stream.fileno(), 2)
        try:
            process = PythonLauncher(CHILD, os.environ)(role, 0, to_bytes(settings), {})
        finally:
            os.dup2(saved, 2)
            os.close(saved)
    pid = process.pid
    _, found = os.waitpid(pid, 0)
    process.gone()
    return pid, os.waitstatus_to_exitcode(found)
