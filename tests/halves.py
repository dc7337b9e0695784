"""The whole suite in two processes at a time: most tests of whole processes wait, most others compute.

`python -m tests.halves`; what the second half says is printed behind the first.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile

from tests.support.source import ROOT

WAITING = ("cli", "deploy", "e2e", "failures", "store", "supervisor", "wire")
"""Directories whose tests start processes and wait for them; as many as make both halves end together."""


def commands() -> tuple[list[str], list[str]]:
    """The two halves: what waits, and all else."""
    pytest = [sys.executable, "-m", "pytest"]
    waiting = [f"tests/{name}" for name in WAITING]
    return [*pytest, *waiting], [*pytest, "tests", *(f"--ignore={path}" for path in waiting)]


def main() -> int:
    waiting, computing = commands()
    with tempfile.TemporaryFile() as said:
        other = subprocess.Popen(computing, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT)
        try:
            code = subprocess.run(waiting, cwd=ROOT, check=False).returncode
            other_code = other.wait()
        finally:
            other.kill()
        said.seek(0)
        sys.stdout.flush()
        sys.stdout.buffer.write(said.read())
    return code or other_code


if __name__ == "__main__":
    sys.exit(main())
