"""Machine instructions of a case, C code included, counted by valgrind: too slow for tests, exact on any machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile

FEW, MANY = 100, 300

_TOTAL = re.compile(r"Collected *: *(\d+)")


def count(name: str, units: int) -> float:
    """Machine instructions for each unit of work. Raises FileNotFoundError without valgrind, RuntimeError when it fails."""
    few, many = max(1, FEW // units), max(2, MANY // units)
    return (_instructions(name, many) - _instructions(name, few)) / (many - few) / units


def _instructions(name: str, repeats: int) -> int:
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise FileNotFoundError("valgrind is not installed; Debian has it as the package valgrind")
    with tempfile.NamedTemporaryFile() as output:
        command = [valgrind, "--tool=callgrind", f"--callgrind-out-file={output.name}", sys.executable]
        # A fixed hash seed: dictionaries then look the same in both runs, whose difference is all that counts.
        done = subprocess.run(
            [*command, "-m", "benchmarks.work", name, "--repeat", str(repeats)],
            env={"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
    found = _TOTAL.search(done.stderr)
    if found is None or done.returncode:
        raise RuntimeError(f"valgrind gave no count: {done.stderr[-500:]}")
    return int(found[1])
