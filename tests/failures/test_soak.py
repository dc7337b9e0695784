"""The soak of `make soak`, short: mixed traffic under random faults, and nothing lost, leaked or wrongly served."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.source import ROOT

MINUTES = float(os.environ.get("SIDECAR_TEST_SOAK", "0.5"))


def test_a_short_soak_finds_nothing() -> None:
    command = [sys.executable, "-m", "benchmarks.soak", "--minutes", str(MINUTES), "--pause", "4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60 * MINUTES + 240, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
