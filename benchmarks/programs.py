"""Environments with the programs that come from a package index; made once, under build/."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
BUILD = ROOT / "build" / "bench"
PEERS = BUILD / "peers"
LITELLM = BUILD / "litellm"


def install(environment: Path, requirements: str) -> str:
    """Install a requirements file of this directory into `environment`; why it could not be done, or nothing."""
    wanted = HERE / requirements
    done = environment / ".installed"
    if done.exists() and done.read_text() == wanted.read_text():
        return ""
    environment.mkdir(parents=True, exist_ok=True)
    venv.create(environment, with_pip=False, clear=True)
    # pip of this environment fills the other one: a Debian python3 may come without ensurepip.
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--quiet",
        "--quiet",
        "--python",
        str(environment / "bin" / "python"),
    ]
    result = subprocess.run([*pip, "install", "--require-hashes", "-r", str(wanted)], capture_output=True, text=True, check=False)
    if result.returncode:
        return f"{requirements} could not be installed: {result.stderr.strip()[-300:]}"
    done.write_text(wanted.read_text())
    return ""
