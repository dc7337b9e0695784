"""A test that waits for ever ends the run, which says where it waited."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.source import ROOT

WAITING = """
import threading


def test_that_waits() -> None:
    threading.Event().wait()
"""


def test_a_run_that_waits_for_ever_ends_and_says_where(tmp_path: Path) -> None:
    (tmp_path / "test_waiting.py").write_text(WAITING)
    (tmp_path / "conftest.py").write_text(
        "from tests.support.patience import Patience\ndef pytest_configure(config): config.pluginmanager.register(Patience(longest=1))\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "test_that_waits" in done.stderr, done.stdout
