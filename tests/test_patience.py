"""Whoever waits for ever ends the run, which says where it waited."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.source import ROOT

IN_A_TEST = """
def test() -> None:
    wait_for_ever()
"""
BEHIND_A_FAILURE = """
@pytest.fixture
def left_open():
    yield
    wait_for_ever()


def test(left_open) -> None:
    raise AssertionError
"""
AT_THE_END = """
def test() -> None:
    threading.Thread(target=wait_for_ever).start()
"""


@pytest.mark.parametrize("waiting", [IN_A_TEST, BEHIND_A_FAILURE, AT_THE_END], ids=["in a test", "behind a failure", "at the end"])
def test_a_run_that_waits_for_ever_ends_and_says_where(waiting: str, tmp_path: Path) -> None:
    (tmp_path / "test_waiting.py").write_text(
        f"import threading\n\nimport pytest\n\n\ndef wait_for_ever() -> None:\n    threading.Event().wait()\n\n{waiting}"
    )
    (tmp_path / "conftest.py").write_text(
        "from tests.support.patience import Patience\ndef pytest_configure(config): config.pluginmanager.register(Patience(longest=1))\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "wait_for_ever" in done.stderr, done.stdout
